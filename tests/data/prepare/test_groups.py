"""What belongs together is sought in the ids that the manifest shows, hinted at where nobody said so, and kept so."""

import pytest

from data.doctor.doctor import examine
from data.pairs.errors import UserError
from data.prepare.grouping import groups_of, hinted_pattern
from data.prepare.prepare import prepare
from tests.data.layouts import trees
from tests.data.prepare.test_mask_meaning import prepared
from tests.data.prepare.test_prepare import row


@pytest.fixture
def patients(tmp_path):
    """Six folders of four pairs, patient01/images/1.png."""
    for patient in range(1, 7):
        for number in range(1, 5):
            place = tmp_path / f"raw/patient{patient:02d}"
            trees.save(place / f"images/{number}.png", place / f"masks/{number}.png")
    return tmp_path / "raw"


def homes(sets) -> dict[str, set[str]]:
    """Return the patients of each split by the manifest's ids."""
    return {split: {pair.id.split("-")[0] for pair in pairs.pairs} for split, pairs in sets.items()}


PATHS = "".join(f"patient{p:02d}/images/{n}.png,p{p}\n" for p in range(1, 7) for n in range(1, 5))
IDS = "".join(f"patient{p:02d}-{n},p{p}\n" for p in range(1, 7) for n in range(1, 5))


@pytest.mark.parametrize("group", [r"^(patient\d+)", r"patient\d+", r"^(.*)-", "ids.csv", "paths.csv", "windows.csv"])
def test_a_group_by_the_manifests_id_keeps_patients_together(group, patients, tmp_path):
    (patients / "ids.csv").write_text("id,patient\n" + IDS)
    (patients / "paths.csv").write_text(PATHS)
    (patients / "windows.csv").write_text(PATHS.replace("/", "\\").replace(".png", ""))
    for seed in range(3):
        found = homes(prepare(row(patients, group=group, seed=seed), tmp_path / str(seed)))
        assert len(found["train"] | found["test"]) == 6
        assert found["train"] & found["test"] == set()


def test_a_table_that_contradicts_itself_or_is_short_is_refused(patients, tmp_path):
    (patients / "groups.csv").write_text(IDS + "patient01-1,p9\n")
    with pytest.raises(UserError, match="names two groups for patient01-1, p1 and p9"):
        prepare(row(patients, group="groups.csv"), tmp_path / "out")
    (patients / "groups.csv").write_text(IDS.replace("patient06-4,p6\n", ""))
    with pytest.raises(UserError, match="names no group for patient06-4"):
        prepare(row(patients, group="groups.csv"), tmp_path / "out")


def test_the_doctor_hints_at_patients_and_its_row_keeps_them_together(patients, tmp_path):
    result, _ = examine(patients)
    faults = {fault["code"]: fault for fault in result["faults"]}
    assert "6 prefixes" in faults["group_hint"]["files"][0]
    assert result["stops"] == []
    found = homes(prepared(result["row"], tmp_path / "out"))
    assert found["train"] & found["test"] == set()


def test_preparing_by_share_says_that_patients_are_torn(patients, tmp_path, capsys):
    prepare(row(patients), tmp_path / "out")
    assert "prefixes of ids lie in two splits, such as patient01" in capsys.readouterr().err
    prepare(row(patients, group=r"^(patient\d+)"), tmp_path / "two")
    assert "prefixes" not in capsys.readouterr().err


def test_splits_that_tear_hinted_patients_are_named_by_the_doctor(tmp_path):
    for side, numbers in (("train", range(4)), ("test", range(4, 6))):
        for patient in range(3):
            for number in numbers:
                name = f"p{patient}_{number}.png"
                trees.save(tmp_path / f"{side}/images/{name}", tmp_path / f"{side}/masks/{name}")
    result, _ = examine(tmp_path)
    hint = next(fault for fault in result["faults"] if fault["code"] == "group_hint")
    assert "3 of them in two splits" in hint["files"][0]
    assert "group" not in result["row"]  # it would be refused


@pytest.mark.parametrize(
    ("ids", "groups"),
    [
        ([f"p{p:02d}_{n:03d}" for p in range(3) for n in range(2)], {"p00", "p01", "p02"}),
        ([f"p{p}_s{s}_{n}" for p in range(3) for s in range(2) for n in range(2)], {"p0", "p1", "p2"}),
        ([f"patient_{p}_{n}" for p in range(3) for n in range(2)], {"patient_0", "patient_1", "patient_2"}),
        ([f"case-{p}-slice{n}" for p in range(2) for n in range(3)], {"case-0", "case-1"}),
        ([f"{p}_frame{n}" for p in (17, 18) for n in range(3)], {"17", "18"}),
    ],
)
def test_prefixes_of_patients_are_found(ids, groups):
    pattern = hinted_pattern(ids)
    assert set(groups_of(ids, pattern)) == groups


@pytest.mark.parametrize(
    "ids",
    [
        [f"ISIC_{n:07d}" for n in range(9)],
        [f"cju{n}qhm" for n in range(9)],
        [f"{n}" for n in range(9)],
        [f"benign ({n})" for n in range(9)],
        [f"{kind}-{n}" for kind in ("benign", "malignant") for n in range(9)],
        [f"IMD{n:03d}" for n in range(9)],
        [f"v1_{n}" for n in range(9)],
        [f"2024_{n}" for n in range(8)] + ["other"],
        [f"{n}_training" for n in range(21, 30)],
    ],
)
def test_other_names_are_no_patients(ids):
    assert hinted_pattern(ids) == ""
