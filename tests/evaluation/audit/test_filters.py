"""Filters: what is kept, what is said of the rest, and what is refused."""

import csv

import numpy as np
import pytest
from pydantic import ValidationError

from data.exports.verify import verify
from data.pairs.errors import UserError
from data.pairs.manifest import read_pairs
from evaluation.audit.config import FilterRow
from evaluation.audit.filters import decide, filter_pairs

COLUMNS = ("id", "parent", "mask_fidelity", "colour_drift", "copy", "copy_distance", "nearest", "nearest_is_parent")
VALUES = [("0.9", "0.4", "0"), ("0.2", "0.4", "0"), ("0.8", "3.5", "0"), ("0.1", "2.0", "1")]


def rows_of(ids, values=VALUES):
    empty = dict.fromkeys(COLUMNS, "")
    return [
        {**empty, "id": name, "mask_fidelity": fidelity, "colour_drift": drift, "copy": copy}
        for name, (fidelity, drift, copy) in zip(ids, values, strict=True)
    ]


@pytest.fixture
def synthetic(tmp_path, draw, save):
    images, masks = draw(4, 0)
    return save(tmp_path / "x1", images, masks, "s", parents=["r0", "r1", "r2", "r3"])


@pytest.fixture
def table(tmp_path):
    """Write images.csv and return its path."""

    def write(rows):
        with (tmp_path / "images.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / "images.csv"

    return write


def ids_of(pairs):
    return [pair.id for pair in pairs.pairs]


def test_every_reason_is_given() -> None:
    decided = decide(rows_of("abcd"), FilterRow(min_mask_fidelity=0.5, max_colour_drift=1.0, drop_copies=True))
    assert decided == {
        "a": [],
        "b": ["mask_fidelity"],
        "c": ["colour_drift"],
        "d": ["mask_fidelity", "colour_drift", "copy"],
    }


def test_a_value_at_the_threshold_is_kept() -> None:
    row = FilterRow(min_mask_fidelity=0.9, max_colour_drift=0.4)
    assert decide(rows_of("a", [("0.9", "0.4", "")]), row) == {"a": []}


def test_copies_are_dropped() -> None:
    rows = rows_of("ab", [("", "", cell) for cell in "10"])
    assert decide(rows, FilterRow(drop_copies=True)) == {"a": ["copy"], "b": []}


@pytest.mark.parametrize("cell", ["", "nan", "much"])
def test_missing_values_are_named_only_where_they_matter(cell: str) -> None:
    rows = rows_of(["a", "lost"], [("0.9", "1", "0"), ("0.9", cell, "0")])
    assert decide(rows, FilterRow(min_mask_fidelity=0.5)) == {"a": [], "lost": []}
    with pytest.raises(UserError, match="lost: colour_drift"):
        decide(rows, FilterRow(min_mask_fidelity=0.5, max_colour_drift=1.0))
    with pytest.raises(UserError, match="lost: copy"):
        decide(rows_of(["lost"], [("1", "1", cell)]), FilterRow(drop_copies=True))


def test_kept_pairs_are_copied_to_the_byte(tmp_path, synthetic, table) -> None:
    ids = ids_of(synthetic)
    row = FilterRow(min_mask_fidelity=0.5)
    counts = filter_pairs(synthetic, table(rows_of(ids)), row, tmp_path / "out/x1", "siamese-strict")
    kept = read_pairs(tmp_path / "out/x1")
    verify(kept)
    assert ids_of(kept) == [ids[0], ids[2]]
    assert {pair.source for pair in kept.pairs} == {"siamese-strict"}
    assert [pair.parent for pair in kept.pairs] == ["r0", "r2"]
    for pair in kept.pairs:
        for name in (pair.image, pair.mask):
            assert (kept.folder / name).read_bytes() == (synthetic.folder / name).read_bytes()
    assert len(list(kept.folder.rglob("*.png"))) == 4
    assert counts == {
        "before": 4,
        "kept": 2,
        "dropped": 2,
        "dropped_mask_fidelity": 2,
        "dropped_colour_drift": None,
        "dropped_copy": None,
        "mask_fidelity_before": pytest.approx(0.5),
        "mask_fidelity_after": pytest.approx(0.85),
    }


def test_nothing_left_is_refused_with_the_values(tmp_path, synthetic, table) -> None:
    row = FilterRow(min_mask_fidelity=0.95, drop_copies=True)
    with pytest.raises(UserError) as error:
        filter_pairs(synthetic, table(rows_of(ids_of(synthetic))), row, tmp_path / "out", "s-f")
    assert "0.1, 0.175, 0.5, 0.825, 0.9" in str(error.value)
    assert "1 of 4 are copies" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_table_of_other_pairs_is_refused(tmp_path, synthetic, table) -> None:
    rows = rows_of([*ids_of(synthetic)[:3], "stranger"])
    with pytest.raises(UserError, match="stranger"):
        filter_pairs(synthetic, table(rows), FilterRow(drop_copies=True), tmp_path / "out", "s-f")
    with pytest.raises(UserError, match="not there"):
        filter_pairs(synthetic, tmp_path / "none.csv", FilterRow(drop_copies=True), tmp_path / "out", "s-f")
    (tmp_path / "short.csv").write_text("id,copy\n")
    with pytest.raises(UserError, match="mask_fidelity"):
        filter_pairs(synthetic, tmp_path / "short.csv", FilterRow(drop_copies=True), tmp_path / "out", "s-f")


@pytest.mark.parametrize("wrong", [{}, {"min_mask_fidelity": 1.2}, {"max_colour_drift": 0.0}, {"min_fidelity": 0.5}])
def test_rows_are_checked(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        FilterRow(**wrong)


def test_stricter_keeps_a_subset() -> None:
    rng = np.random.default_rng(0)
    rows = rows_of(map(str, range(50)), [(str(a), str(b), "0") for a, b in rng.random((50, 2))])
    kept = [
        {name for name, reasons in decide(rows, FilterRow(min_mask_fidelity=limit)).items() if not reasons}
        for limit in (0.0, 0.3, 0.6)
    ]
    assert len(kept[0]) == 50
    assert kept[2] < kept[1] < kept[0]
