"""Opt-in: the copy audit on real pictures. SIAMESE_DATA names the folder of kvasir-seg/ and ph2/."""

import os

import numpy as np
import pytest

from benchmarks.copy_audit import FRESH, GENERIC, PLANTED, images_of, measure
from evaluation.audit.colour import colour_drift, lab_statistics

ROOT = os.environ.get("SIAMESE_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not ROOT, reason="SIAMESE_DATA names no folder with kvasir-seg and ph2"),
]


@pytest.mark.parametrize("name", ["kvasir-seg", "ph2"])
def test_planted_copies_are_found_and_fresh_images_are_not(name: str) -> None:
    images = images_of(f"{ROOT}/{name}")
    dealings = [measure(images, np.random.default_rng(seed)) for seed in range(3)]
    for kind in PLANTED:
        for figure in (0, 2):
            assert np.mean([dealing[kind][figure] for dealing in dealings]) >= 0.97, kind
    for kind in (*FRESH, GENERIC):
        assert np.mean([dealing[kind][0] for dealing in dealings]) < 0.05, kind
        assert np.mean([dealing[kind][2] for dealing in dealings]) < 0.05, kind
    assert np.mean([dealing["fresh image"][1] for dealing in dealings]) == pytest.approx(0.5, abs=0.1)


def test_fresh_polyps_have_the_colours_of_polyps_and_swapped_channels_have_not() -> None:
    images = images_of(f"{ROOT}/kvasir-seg")
    order = np.random.default_rng(0).permutation(len(images))
    train, fresh = lab_statistics(images[order[:300]]), images[order[300:]]
    rates = []
    for one in (fresh, fresh[..., ::-1]):
        found = lab_statistics(one)
        rates.append((colour_drift(train.mean, train.sd, found.mean, found.sd) > 1).mean())
    assert rates[0] < 0.12
    assert rates[1] > 0.95
