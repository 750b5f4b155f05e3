"""dvc.yaml says what the code does: deps are the imports, params are what a verb reads, outputs do not clash."""

import importlib
import re
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.cli import VERBS
from pipeline.params import paths
from tests.contracts.imports import ROOT, all_imports

TEXT = (ROOT / "dvc.yaml").read_text()
STAGES = {name: stage.get("do", stage) for name, stage in YAML(typ="safe").load(TEXT)["stages"].items()}
# What these decide reaches a stage as its tracked params.
FRONT_END = {*(f"pipeline/params/{name}.py" for name in ("schema", "checks", "mask_checks")), "data/config_errors.py"}
DATA_ROOTS = ("data/processed", "data/unlabelled", "data/imported", "data/ratings", "outputs", "presets", "results")


def verb_of(stage: dict) -> str:
    return re.match(r"python -m pipeline (\w+)", stage["cmd"]).group(1)


def imports_of(stage: dict) -> set[Path]:
    return all_imports(ROOT / f"pipeline/stages/{verb_of(stage)}.py")


def room(path: Path) -> str:
    """Return what a stage names for a file that it imports: its folder; of the pipeline, or of no folder, the file."""
    path = path.relative_to(ROOT)
    return str(path if path.parts[0] == "pipeline" or len(path.parts) == 2 else path.parent)


def code_deps(stage: dict) -> set[str]:
    """Return the folders and files of code among the dependencies."""
    return {dep for dep in stage["deps"] if not dep.startswith(("$", *DATA_ROOTS))}


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_rooms_of_what_the_verb_imports(name):
    stage = STAGES[name]
    assert code_deps(stage) == {room(path) for path in imports_of(stage)} - FRONT_END


@pytest.mark.parametrize("name", STAGES)
def test_params_are_what_the_verb_reads(name):
    stage = STAGES[name]
    reads = importlib.import_module(f"pipeline.stages.{verb_of(stage)}").READS.values()
    row = next(iter(VERBS[verb_of(stage)][1]), "")  # what a foreach goes over
    tracked = {
        re.sub(r"\$\{(?:item\.)?(\w+)\}", r"{\1}", key).replace("{key}", f"{{{row}}}")
        for key in stage.get("params", [])
    }
    assert tracked == set(reads)


@pytest.mark.parametrize("name", STAGES)
def test_the_command_gives_every_option_of_its_verb(name):
    stage = STAGES[name]
    options = set(re.findall(r"--(\w+)", stage["cmd"])) | (set(stage["matrix"]) if "${item}" in stage["cmd"] else set())
    assert options == set(VERBS[verb_of(stage)][1])


@pytest.mark.parametrize("name", STAGES)
def test_no_name_reaches_the_shell_as_it_is(name):
    stage = STAGES[name]
    assert set(re.findall(r"\$\{?[^\s]*", stage["cmd"])) <= {"${item}", '$DVC_STAGE"'}  # DVC quotes the first one
    outs = str([*stage["outs"], *stage.get("metrics", [])])
    assert all(f"${{item.{key}}}" in outs for key in stage.get("matrix", ())), "a mapping would be no name"


def test_everything_comes_after_the_check_of_params():
    assert STAGES["check"]["outs"] == [{"params.yaml": {"cache": False, "persist": True}}]  # never removed
    assert all(stage.get("params") for name, stage in STAGES.items() if name != "check")


def test_touching_the_sampler_retrains_nothing():
    assert not {"siamese/sampling", "siamese/live", "data/drawing.py"} & code_deps(STAGES["train"])
    assert "siamese/sampling" in code_deps(STAGES["sample"])


def test_paths_are_those_of_dvc_yaml():
    fill = {
        "dataset": "D",
        "generator": "G",
        "masks": "M",
        "source": "S",
        "architecture": "A",
        "extractor": "E",
        "filter": "F",
        "multiple": 2,
        "seed": 3,
        "generator_seed": 4,
        "g": "-g",
    }
    source, passed = paths.seeded("S", 4), paths.seeded("G-F", 4)
    run, filtered = paths.run_name(source, "M", 2, 3), paths.run_name(passed, "M", 1, 3)
    ours = {
        "acquire": {paths.raw("D")},
        "prepare": {paths.processed("D"), paths.unlabelled("D")},
        "base": {paths.base("D")},
        "latents": {paths.latents("D")},
        "masks": {paths.masks("D", "M")},
        "refiner": {paths.refiner("D", "G")},
        "train": {paths.generator("D", "G", 4)},
        "reference": {paths.samples("D", "S", "real")},
        "sample": {paths.samples("D", paths.seeded("G", 4), "M")},
        "sample_volume": {paths.samples("D", paths.seeded("G", 4), "M", 2)},
        "judge": {paths.judge("D")},
        "segment": {
            paths.segmenter("D", "A", run),
            paths.RESULTS / f"details/segmentation/D/A/{run}.json",
            paths.curve("D", "A", run),
        },
        "features": {paths.features("D", source, "M", "E")},
        "inspect": {paths.inspected("D", source, "M")},
        "score": {paths.scored("D", source, "M"), paths.RESULTS / f"details/scores/D/{source}-M.json"},
        "filter": {paths.samples("D", passed, "M"), paths.RESULTS / f"details/filters/D/{passed}-M.json"},
        "pictures": {paths.RESULTS / "pictures/D"},
        "segment_filtered": {
            paths.segmenter("D", "A", filtered),
            paths.RESULTS / f"details/segmentation/D/A/{filtered}.json",
            paths.curve("D", "A", filtered),
        },
    }
    for name, expected in ours.items():
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in STAGES[name]["outs"]]
        filled = {re.sub(r"\$\{(?:item\.)?(\w+)\}", lambda m: str({**fill, "key": "D"}[m[1]]), out) for out in outs}
        assert filled == {str(path) for path in expected}, name


def test_a_person_can_read_it():
    """Each body stands once: a stage without its own `deps` takes all but its matrix over, and the sign of a seed."""
    assert len(TEXT.splitlines()) <= 235
    bodies = [(stage["cmd"], *stage["deps"]) for stage in STAGES.values()]
    merged = r"<<: (?:\*\w+|\[(?:\*bare|&bare \{vars: \[\{g: \"\"\}\]\}), \*\w+\])"
    groups = re.findall(rf"^  (\w+):\n    {merged}\n((?:    .*\n)+)", TEXT, re.MULTILINE)
    taken_over = [name for name, own in groups if "deps:" not in own]
    assert all(
        re.fullmatch(r"    matrix: (?:\*\w+|(?:&\w+ )?\{[^}]*(\$\{[^}]*\}[^}]*)*\})\n", own)
        for name, own in groups
        if name in taken_over
    )
    assert len(set(bodies)) == len(bodies) - len(taken_over)
    assert not re.search(r"_\d:", TEXT)


def test_only_sets_of_generators_have_a_training_seed_in_their_names():
    with Repo(str(ROOT)) as repo:
        outs = {out.def_path for stage in repo.index.graph for out in stage.outs}
    for made in ("generators/phantom/siamese-g0", "samples/x1/phantom/siamese-strict-g0-random"):
        assert f"outputs/{made}" in outs
    for other in ("samples/x1/phantom/real-real", "features/phantom/real-real/lite0", "inspected/phantom/real-real"):
        assert f"outputs/{other}" in outs
    assert "results/segmentation/phantom/unet/duplicate-real-x1-s0.json" in outs
    assert "results/segmentation/phantom/unet/siamese-g0-random-x2-s0.json" in outs


def test_the_graph_of_the_shipped_params_has_no_clash():
    with Repo(str(ROOT)) as repo:
        names = {stage.addressing for stage in repo.index.graph}
    assert {"prepare@phantom", "report"} <= names


def test_what_users_put_into_the_project_is_watched():
    assert all("data/imported" in STAGES[name]["deps"] for name in ("reference", "baseline"))
    assert all("data/imported_masks" in STAGES[name]["deps"] for name in ("masks", "sample_volume"))
    assert "data/ratings" in STAGES["report"]["deps"]
    # file by file: .dvcignore has the folder, so that no data set can be named to lead there
    names = ("_paper.yaml", "_toy.yaml", "paper-*.yaml")
    presets = {f"presets/{path.name}" for name in names for path in ROOT.glob(f"presets/{name}")}
    assert {dep for dep in STAGES["report"]["deps"] if dep.startswith("presets")} == presets
    assert "${item.path}" in STAGES["prepare"]["deps"]


def test_the_graph_of_the_start_page_has_every_kind_of_stage():
    lines = [line for line in (ROOT / "docs/start.md").read_text().splitlines() if " \u2192 " in line]
    shown = set(re.findall(r"\w+", " ".join(lines)))
    others = {name for name in STAGES if name.endswith("baseline")} | {"acquire"}  # not of the default run
    assert shown == set(STAGES) - others
