"""Testing a trained segmenter: one pass of predictions over every test set, then all conventions."""

from collections.abc import Mapping
from pathlib import Path

from data.pairs.manifest import PairSet, content
from segmentation.measures import measure, summarize
from segmentation.predict import load_segmenter


def evaluate(folder: Path, test_sets: Mapping[str, PairSet]) -> dict[str, dict[str, object]]:
    """Return {"metrics": flat numbers over all test sets, "test_sets": details of each}, at the images' own size."""
    segmenter = load_segmenter(folder)
    measures = {}
    for name, pairs in test_sets.items():
        # One image at a time, since test sets may hold images of several sizes.
        probabilities = [segmenter(content(pair, pairs.image(pair))[None])[0] for pair in pairs.pairs]
        ids = [pair.id for pair in pairs.pairs]
        measures[name] = measure(probabilities, [content(pair, pairs.mask(pair)) for pair in pairs.pairs], ids)
    return summarize(measures)
