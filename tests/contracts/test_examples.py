"""The examples in the docstrings of the metrics give what they print."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    *("evaluation.audit.colour", "evaluation.audit.mask_fidelity"),
    *("evaluation.scores.distances", "evaluation.scores.prdc"),
    *("segmentation.measures.evaluate", "segmentation.measures.overlap", "segmentation.measures.saliency"),
)


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_print(module):
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
