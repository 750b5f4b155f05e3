"""Which stages an edit of params.yaml reaches, as DVC resolves dvc.yaml; tests/pipeline/test_graph.py runs some."""

import re
import shutil
from collections.abc import Callable

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from tests.contracts.imports import ROOT
from tests.pipeline.projects import edit

ARCHITECTURES = ("unet", "segformer")
AFTER_SAMPLES = {
    *(f"features@phantom-siamese-0-{masks}-lite0" for masks in ("real", "random")),
    *(f"{verb}@phantom-siamese-0-{masks}" for verb in ("inspect", "score") for masks in ("real", "random")),
    *(f"segment@phantom-siamese-0-{masks}-{row}-1-0" for masks in ("real", "random") for row in ARCHITECTURES),
    *(f"segment_filtered@phantom-siamese-strict-0-random-{row}-0" for row in ARCHITECTURES),
    *(f"segment_volume@phantom-siamese-0-random-{row}-2-0" for row in ARCHITECTURES),
    "filter@phantom-siamese-strict-0-random", "pictures@phantom", "report",
}  # fmt: skip
MADE = ("features", "inspect", "sample", "score", "segment")  # for each training of a generator of the comparison
SAMPLES = {f"sample@phantom-siamese-0-{masks}" for masks in ("real", "random")} | {
    "sample_volume@phantom-siamese-0-random-2"
}


def look() -> tuple[dict[str, object], dict[str, set[str]]]:
    """Return what each stage is and reads, and which stages it needs."""
    with Repo() as repo:
        graph = repo.index.graph
        reads = {
            stage.addressing: (
                stage.cmd,
                sorted(dep.def_path for dep in stage.deps),
                [dep.read_params() for dep in stage.deps if isinstance(dep, ParamsDependency)],
            )
            for stage in graph
        }
        return reads, {stage.addressing: {one.addressing for one in graph.successors(stage)} for stage in graph}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Stand in a folder of DVC with the shipped graph and params.yaml."""
    path, patch = tmp_path_factory.mktemp("edits"), pytest.MonkeyPatch()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, path)
    patch.chdir(path)
    Repo.init(no_scm=True).close()
    yield look()[0]
    patch.undo()


@pytest.fixture
def reached(project) -> Callable[[Callable], set[str]]:
    """Return the function of an edit that gives the stages that are new or read something else, and all after them."""
    shutil.copy(ROOT / "params.yaml", "params.yaml")

    def found(change: Callable) -> set[str]:
        change()
        after, needs = look()
        names = {name for name in after if after[name] != project.get(name)}
        while more := {name for name in after if needs[name] & names} - names:
            names |= more
        return names

    return found


@pytest.mark.heavy
def test_a_seed_by_dvc_exp_run(reached):
    """`dvc exp run -S 'comparison.seeds=[0,1]'` changes params.yaml so."""
    assert reached(lambda: apply_overrides("params.yaml", ["comparison.seeds=[0,1]"])) == {
        *(
            f"segment@phantom-{generator}-0-{masks}-{row}-1-1"
            for generator in ("controlnet", "siamese")
            for masks in ("real", "random")
            for row in ARCHITECTURES
        ),
        *(
            f"segment_reference@phantom-{name}--real-{row}-1-1"
            for name in ("real", "duplicate")
            for row in ARCHITECTURES
        ),
        "report",
    }


def of_seed(name: str, seed: int) -> str:
    """Return the name of the same stage after another training of its generator."""
    return re.sub(r"-0-(?=real-|random|real$)", f"-{seed}-", name)


@pytest.mark.heavy
def test_another_training_of_the_generators_reaches_nothing_of_the_first(reached):
    """`dvc exp run -S 'comparison.generator_seeds=[0,1]'` changes params.yaml so; volume and filtered keep theirs."""
    found = reached(lambda: apply_overrides("params.yaml", ["comparison.generator_seeds=[0,1]"]))
    more = {name for name in AFTER_SAMPLES | SAMPLES if name.split("@")[0] in MADE}
    more = {of_seed(name, 1) for name in more} | {"train@phantom-siamese-1"}
    more |= {name.replace("siamese", "controlnet") for name in more}
    assert found == more | {"pictures@phantom", "report"}


def test_another_training_of_the_larger_sets_is_that_of_the_comparison(reached):
    def more(data) -> None:
        for block in ("comparison", "volume", "filtered"):
            data[block]["generator_seeds"] = [0, 1]

    found = reached(lambda: edit(more))
    assert {of_seed(name, 1) for name in AFTER_SAMPLES | SAMPLES} <= found
    assert not found & (AFTER_SAMPLES | SAMPLES | {"train@phantom-siamese-0"}) - {"pictures@phantom", "report"}


def test_a_multiple_draws_that_multiple(reached):
    assert reached(lambda: edit(lambda data: data["volume"].update(multiples=[2, 3]))) == {
        "sample_volume@phantom-siamese-0-random-3",
        *(f"segment_volume@phantom-siamese-0-random-{row}-3-0" for row in ARCHITECTURES),
        "report",
    }


def test_a_switch_of_one_generator_leaves_the_others(reached):
    found = reached(lambda: edit(lambda data: data["generators"]["siamese"].update(w_c=0.5)))
    assert found == {"refiner@phantom-siamese", "train@phantom-siamese-0"} | SAMPLES | AFTER_SAMPLES


def test_moved_masks_are_drawn_anew_and_no_generator_is_trained(reached):
    found = reached(lambda: edit(lambda data: data["masks"]["random"].update(seed=1)))
    assert {"masks@phantom-random", "sample_volume@phantom-siamese-0-random-2", "pictures@phantom"} <= found
    assert not any(name.startswith(("train", "base", "reference")) or "-real-" in name for name in found)


def test_a_data_set_leaves_those_that_are_there(reached):
    def more(data) -> None:
        data["datasets"]["mine"] = {**data["datasets"]["phantom"], "seed": 1}
        data["comparison"]["datasets"].append("mine")

    found = reached(lambda: edit(more))
    assert {"prepare@mine", "base@mine", "sample@mine-siamese-0-random", "pictures@mine"} <= found
    assert {name for name in found if "@mine" not in name} == {"report"}


@pytest.mark.parametrize(
    ("section", "row", "stages"),
    [
        ("generators", "siamese", {"report"}),
        ("masks", "random", {"report"}),
        ("filters", "strict", {"report"}),
        ("architectures", "unet", set()),
        ("baselines", "duplicate", set()),
    ],
)
def test_a_row_that_no_list_names_is_for_the_report_at_most(section, row, stages, reached):
    assert reached(lambda: edit(lambda data: data[section].update(other=dict(data[section][row])))) == stages


@pytest.mark.heavy
def test_another_way_of_making_pairs_is_scored_and_trained_on(reached):
    def more(data) -> None:
        data["baselines"]["pasted"] = {"kind": "cut_paste"}
        data["comparison"]["baselines"].append("pasted")

    assert reached(lambda: edit(more)) == {
        "baseline@phantom-pasted", "features_baseline@phantom-pasted--real-lite0",
        "inspect_baseline@phantom-pasted--real", "score_baseline@phantom-pasted--real", "pictures@phantom", "report",
        *(f"segment_baseline@phantom-pasted--real-{row}-1-0" for row in ARCHITECTURES),
    }  # fmt: skip


def test_masks_of_one_generator_need_no_place_in_the_comparison(reached):
    """Table 3's random masks: the set is made and trained on, and is not scored."""

    def alone(data) -> None:
        data["comparison"]["masks"] = ["real"]
        data["filtered"]["datasets"] = []
        data["volume"]["multiples"] = [1]

    found = reached(lambda: edit(alone))
    assert {"sample_volume@phantom-siamese-0-random-1", "segment_volume@phantom-siamese-0-random-unet-1-0"} <= found
    assert not any(name.startswith(("score", "features", "masks")) and "random" in name for name in found)


@pytest.mark.heavy
def test_given_and_drawn_masks_reach_what_is_made_for_them(reached):
    rows = {
        "drawn": {"kind": "shapes", "copies": 2, "seed": 0},
        "theirs": {"kind": "dataset", "copies": 2, "dataset": "near"},
        "mine": {"kind": "folder", "copies": 2, "path": "data/imported_masks/mine"},
    }

    def more(data) -> None:
        data["datasets"]["near"] = {**data["datasets"]["phantom"], "seed": 1}
        data["masks"].update(rows)
        data["comparison"]["masks"] += list(rows)
        data["volume"]["masks"] += list(rows)

    found = reached(lambda: edit(more))
    made = {f"{verb}@phantom-siamese-0-{name}" for verb in ("sample", "inspect", "score") for name in rows}
    made |= {f"masks@phantom-{name}" for name in rows} | {f"sample_volume@phantom-siamese-0-{name}-2" for name in rows}
    assert made <= found
    assert {name for name in found if not any(f"-{row}" in name for row in rows)} == {
        "prepare@near", "pictures@phantom", "report",
    }  # fmt: skip
