"""Testing a trained segmenter: one pass of predictions over every test set, then all conventions."""

from collections.abc import Mapping
from typing import Any

from data.pairs.manifest import PairSet, content
from segmentation.inference.predict import Segmenter
from segmentation.measures import Measures, measure
from segmentation.measures.summary import summarize


def measure_set(segmenter: Segmenter, pairs: PairSet) -> Measures:
    """Return what a segmenter gets on one test set, at the images' own sizes and without padding.

    Each image is measured as soon as it is predicted, and its map forgotten.
    """
    maps = (segmenter(content(pair, pairs.image(pair))[None])[0] for pair in pairs.pairs)
    masks = (content(pair, pairs.mask(pair)) for pair in pairs.pairs)
    return measure(maps, masks, [pair.id for pair in pairs.pairs], stretch_maps=segmenter.row.stretch_maps)


def evaluate(segmenter: Segmenter, test_sets: Mapping[str, PairSet]) -> dict[str, dict[str, Any]]:
    """Return {"metrics": flat numbers over all test sets, "test_sets": details of each}.

    Raises: UserError for test sets without images.
    """
    return summarize({name: measure_set(segmenter, pairs) for name, pairs in test_sets.items()})
