"""From images to test sets to one number: weights, names, and the Overall that the paper prints."""

import numpy as np
import pytest

from evaluation.paper.facts import read_paper
from segmentation.measures.evaluate import FLAT, Measures, measure, overall, summarize


def named(probabilities, masks) -> Measures:
    return measure(probabilities, masks, [f"i{n}" for n in range(len(masks))])


def half(count: int, score: float) -> Measures:
    return named(np.full((count, 4, 4), score, np.float32), np.ones((count, 4, 4), np.uint8))


def random_measures(count: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    masks = [(rng.random((12, 14)) < 0.3).astype(np.uint8) for _ in range(count)]
    return [np.clip(0.4 * mask + 0.6 * rng.random(mask.shape), 0, 1) for mask in masks], masks


def test_the_papers_overall_is_weighted_by_images():
    """47 of the 48 numbers of Table 2 come out as printed; the last is within what rounded inputs allow."""
    paper = read_paper()
    table, sizes = paper.tables["table2"], {name: n for name, (n,) in paper.sizes["polyps"].items() if name != "train"}
    assert sizes == {"cvc-300": 60, "clinicdb": 62, "kvasir": 100, "colondb": 380, "etis": 196}
    checked, missed = 0, []
    for row in table.rows:
        cells = dict(zip(((column.at.test_set, column.label) for column in table.flat()), row.printed, strict=True))
        for name in ("mDice", "mIoU"):
            value = overall({test_set: (n, cells[test_set, name]) for test_set, n in sizes.items()})
            printed = cells[None, name]
            checked += 1
            assert abs(value - printed) < 0.1
            if abs(value - printed) > 0.05 + 1e-9:
                missed.append((row.name, name))
    assert checked == 48
    assert missed == [("Polyp-PVT ArSDM", "mIoU")]


def test_overall_is_the_mean_over_all_images():
    first, second = random_measures(3, 0), random_measures(5, 1)
    apart = summarize({"a": named(*first), "b": named(*second)})["metrics"]
    together = summarize({"all": named([*first[0], *second[0]], [*first[1], *second[1]])})["metrics"]
    assert list(apart) == list(together) == ["images", *FLAT]
    for name in set(FLAT) - {"maxDice_thr256", "e_measure_max"}:
        assert apart[name] == pytest.approx(together[name]), name
    for name in ("maxDice_thr256", "e_measure_max"):  # every test set may have another best threshold
        assert apart[name] >= together[name] - 1e-12


def test_the_best_threshold_is_that_of_the_mean_curve():
    result = named(*random_measures(4, 2))
    metrics = summarize({"one": result})["metrics"]
    for name, curve in (("Dice_thr256", "polyp_thr256/dice"), ("e_measure", "toolbox/e_measure")):
        mean, best = (f"m{name}", f"max{name}") if name[0] == "D" else (name, f"{name}_max")
        assert metrics[mean] == pytest.approx(result.curves[curve].mean())
        assert metrics[best] == result.curves[curve].max() > metrics[mean]


def test_test_sets_weigh_by_their_images():
    summary = summarize({"found": half(3, 1.0), "missed": half(1, 0.0)})
    assert summary["metrics"]["mDice"] == pytest.approx(3 / 4)
    assert summary["metrics"]["mDice_pooled"] == pytest.approx(2 * 3 / (3 + 4))
    assert summary["metrics"]["images"] == 4


def test_details_hold_every_image_and_every_flat_name():
    summary = summarize({"found": half(3, 1.0), "missed": half(1, 0.0)})
    found, missed = summary["test_sets"]["found"], summary["test_sets"]["missed"]
    assert (found["n"], missed["n"]) == (3, 1)
    assert found["fg_image/dice"] == {"mean": 1.0, "sd": 0.0}
    both = summarize({"one": named(np.stack([np.ones((4, 4)), np.zeros((4, 4))]), np.ones((2, 4, 4), np.uint8))})
    assert both["test_sets"]["one"]["fg_image/dice"] == {"mean": 0.5, "sd": pytest.approx(np.sqrt(0.5))}
    assert missed["fg_image/dice"]["sd"] is None
    assert [image["id"] for image in found["images"]] == ["i0", "i1", "i2"]
    per_image = {key for key in FLAT.values() if not key.startswith("pooled/") and "max" not in key}
    assert set(missed["images"][0]) == {"id"} | per_image
    assert set(missed) == {"n", "metrics", "images"} | set(FLAT.values())
    assert missed["metrics"] == {name: summarize({"m": half(1, 0.0)})["metrics"][name] for name in FLAT}
