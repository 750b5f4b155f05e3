"""Names in params.yaml are checked before they reach a shell or a path that DVC removes, by plain dvc too."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from dvc.cli import main
from dvc.repo import Repo

from data.pairs.files import sha256_tree
from pipeline.cli import main as pipeline
from tests.pipeline.projects import edit, shrink, stand_in_project

pytestmark = pytest.mark.heavy

SHELL = ["x; touch F; #", "x$(touch F)", "x' ; touch F ; '", 'x" ; touch F ; "', "x\ntouch F\n"]
PLACES = [
    "../../docs",
    "../downloads",
    "../../docs/",
    "a/../../../docs",
    "../downloads/kept",
    "../../mine",
    "../../.git",
    "../../presets",
]
SINGLE = [
    "../../docs",
    "../../tests",
    "../../.git",
    "../../presets",
    "../../presets/x",
]  # what DVC itself keeps from being an output
LISTED = ("x; touch F; #", "../../../docs", "x'; touch F; '")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "project"
    patch = pytest.MonkeyPatch()
    stand_in_project(path, shrink, patch)
    for folder in ("data/downloads/kept", "mine"):
        (path / folder).mkdir(parents=True)
        (path / folder / "file").write_text("kept")
    yield path
    patch.undo()


@pytest.fixture
def shipped(project):
    before = Path("params.yaml").read_bytes()
    yield
    Path("params.yaml").write_bytes(before)


def dvc(*arguments: str) -> int:
    """Run plain dvc in this process, which takes seconds to import, and return its exit code."""
    return main(list(arguments))


def repro(target: str) -> set[str]:
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(targets=[target])}


def everything() -> str:
    return sha256_tree(Path("docs"), Path("presets"), Path("data/downloads"), Path("mine"))


def add_row(name: str):
    def change(data) -> None:
        data["datasets"][name] = dict(data["datasets"]["phantom"])

    return change


@pytest.mark.parametrize("name", SHELL)
def test_a_name_of_a_data_set_runs_no_shell_code(shipped, name):
    edit(add_row(name))
    for arguments in (["repro", f"prepare@{name}"], ["repro", "--single-item", f"prepare@{name}"]):
        assert dvc(*arguments) != 0
        assert not Path("F").exists()


@pytest.mark.parametrize("name", PLACES)
def test_a_row_that_leads_out_of_its_folder_deletes_nothing(shipped, name):
    edit(add_row(name))
    before = everything()
    for arguments in (["repro", f"prepare@{name}"], *([["repro"], ["repro", "--force"]] if name == PLACES[0] else [])):
        assert dvc(*arguments) != 0
        assert everything() == before
        assert Path(".git/HEAD").is_file()


@pytest.mark.parametrize("name", SINGLE)
def test_nor_does_its_stage_alone_where_no_stage_writes(shipped, name):
    edit(add_row(name))
    before = everything()
    assert dvc("repro", "--single-item", f"prepare@{name}") != 0
    assert everything() == before
    assert Path(".git/HEAD").is_file()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *product(["datasets"], LISTED),
        *product(["masks", "generators", "references", "baselines", "architectures"], LISTED[:1]),
    ],
)
def test_a_name_in_a_list_neither_runs_nor_deletes(shipped, key, name):
    edit(lambda data: data["comparison"].update({key: [name]}))
    before = everything()
    assert dvc("repro") != 0
    assert not Path("F").exists()
    assert everything() == before


@pytest.mark.parametrize("seed", ["0; touch F; #", "0/../../../../docs"])
def test_nor_does_a_seed_that_is_a_text(shipped, seed):
    edit(lambda data: data["comparison"].update(seeds=[seed]))
    before = everything()
    assert dvc("repro", f"segment@phantom-siamese-0-random-unet-1-{seed}") != 0
    assert dvc("repro", "--single-item", f"segment@phantom-siamese-0-random-unet-1-{seed}") != 0
    assert not Path("F").exists()
    assert everything() == before


@pytest.mark.parametrize("multiple", ["1; touch F; #", "1/../../../docs"])
def test_nor_does_a_multiple_that_is_a_text(shipped, multiple):
    edit(lambda data: data["volume"].update(multiples=[multiple]))
    before = everything()
    for arguments in (["repro"], ["repro", "--single-item", f"sample_volume@phantom-siamese-0-random-{multiple}"]):
        assert dvc(*arguments) != 0
    assert not Path("F").exists()
    assert everything() == before


@pytest.mark.parametrize("name", ["x; touch F; #", "../../docs"])
def test_our_repro_says_it_before_anything_runs(shipped, name):
    edit(add_row(name))
    command = [sys.executable, "-m", "pipeline", "repro", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "params.yaml: 1 problem"
    assert "is not allowed as a name" in done.stderr
    assert not Path("F").exists()
    assert not Path(".work/logs").exists()


def test_the_check_runs_once_for_each_change_and_stages_find_their_names(shipped):
    edit(lambda data: data["datasets"]["phantom"].update(train=4, test=4, size_px=32))
    assert repro("prepare@phantom") == {"check", "prepare@phantom"}
    assert Path("data/processed/phantom/train/manifest.csv").is_file()
    assert repro("prepare@phantom") == set()
    edit(lambda data: data["training"].update(steps=7))
    assert repro("prepare@phantom") == {"check"}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("https://user:s3cret@host/pairs?token=s3cret", "is an address"),
        ("s3://key:s3cret@bucket/pairs", "is an address"),
        ("/dev/zero", "/dev/zero is neither a file nor a folder"),
    ],
)
def test_a_path_that_dvc_would_fetch_or_read_for_ever_is_refused(shipped, capfd, path, told):
    edit(lambda data: data["datasets"]["phantom"].update(path=path))
    for verb in ("params", "plan", "repro"):
        assert pipeline([verb]) == 2
        text = "".join(capfd.readouterr())
        assert f"datasets.phantom.path: {told}" in text
        assert "s3cret" not in text


@pytest.mark.parametrize("section", ["datasets", "masks", "generators", "architectures", "baselines", "filters"])
def test_a_name_that_would_make_names_of_files_too_long_is_refused(shipped, capfd, section):
    def change(length: int):
        return lambda data: data[section].update({"a" * length: dict(next(iter(data[section].values())))})

    if section != "baselines":  # names of their kinds alone
        edit(change(40))
        assert pipeline(["params"]) == 0
    edit(change(41))
    capfd.readouterr()
    assert pipeline(["params"]) == 2
    assert "at most 40 characters" in capfd.readouterr().err


def test_an_experiment_changes_params_and_leaves_them_recorded(shipped):
    """params.yaml is the output of a stage: DVC must neither put it back, nor remove it, nor cache it."""
    edit(lambda data: data["datasets"]["phantom"].update(train=4, test=4, size_px=32))
    before = Path("params.yaml").read_text()
    assert dvc("exp", "run", "-S", "datasets.phantom.seed=5", "prepare@phantom") == 0
    assert "seed: 5" in Path("params.yaml").read_text()
    with Repo() as repo:
        assert repo.status(["check", "prepare@phantom"]) == {}
    Path("params.yaml").write_text(before + "# mine\n")
    for arguments in (
        ["checkout", "--force", "check"],
        ["gc", "--workspace", "--force"],
        ["commit", "--force", "check"],
    ):
        assert dvc(*arguments) == 0
        assert Path("params.yaml").read_text() == before + "# mine\n"
