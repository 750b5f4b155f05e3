"""The examples in the docstrings of the metrics are run."""

import doctest

import pytest

from segmentation.measures import conventions, evaluate, overlap, saliency, thresholds


@pytest.mark.parametrize("module", [conventions, evaluate, overlap, saliency, thresholds])
def test_the_examples_give_what_they_print(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
