"""`tables` runs every preset, makes what they share once, goes on after a failure, and params.yaml is as it was."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from data.pairs.errors import UserError
from pipeline.params.presets import TABLES, presets_of
from pipeline.run.own_params import OWN, presets_in_place, put_back
from pipeline.run.tables import add_arguments, chosen
from tests.contracts.imports import ROOT
from tests.pipeline.projects import shrink, stand_in_project
from tests.pipeline.record.test_kills import until

SLOW, BROKEN = "toy-table2", "toy-table4"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Stand in a folder with a params.yaml of odd line ends."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(b"a: 1\r\nb: 2")
    return Path("params.yaml").read_bytes()


def test_params_come_back_after_an_error(own):
    def fail():
        with presets_in_place() as stand_in:
            stand_in("a: 2\n")
            stand_in("a: 3\n")
            assert Path("params.yaml").read_text() == "a: 3\n"
            raise RuntimeError("a stage failed")

    with pytest.raises(RuntimeError):
        fail()
    assert Path("params.yaml").read_bytes() == own
    assert not OWN.exists()


KILLED = """
from pipeline.run.own_params import *
with presets_in_place() as stand_in:
    stand_in("a: 2")
    os.kill(os.getpid(), 9)
"""


def test_params_come_back_at_the_next_start_after_a_kill(own, capsys):
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -signal.SIGKILL
    assert Path("params.yaml").read_text() == "a: 2"
    put_back()
    assert Path("params.yaml").read_bytes() == own
    assert "yours again" in capsys.readouterr().err
    put_back()
    assert Path("params.yaml").read_bytes() == own


def test_what_the_user_edits_meanwhile_is_never_lost(own, capsys):
    def edit_meanwhile():
        with presets_in_place() as stand_in:
            stand_in("a: 2\n")
            Path("params.yaml").write_text("mine: 1\n")
            stand_in("a: 3\n")

    with pytest.raises(UserError, match="edited while presets ran"):
        edit_meanwhile()
    assert Path("params.yaml").read_text() == "mine: 1\n"
    assert Path(".work/params.yaml.before").read_bytes() == own
    assert "stays so" in capsys.readouterr().err
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert OWN.is_file()
    Path("params.yaml").write_text("mine: 2\n")
    put_back()
    assert Path("params.yaml").read_text() == "mine: 2\n"


def test_a_link_stays_a_link(own):
    Path("params.yaml").rename("elsewhere.yaml")
    Path("params.yaml").symlink_to("elsewhere.yaml")
    with presets_in_place() as stand_in:
        stand_in("a: 2\n")
    assert Path("params.yaml").is_symlink()
    assert Path("params.yaml").read_bytes() == own


def test_one_table_alone_is_that_of_its_presets(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    wanted = ["toy", "--only", "figure7", "table4"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert [path.stem for path in chosen(vars(parser.parse_args(wanted)))] == [
        "toy-table4", "toy-table4-emitted", "toy-figure7"
    ]  # fmt: skip
    assert len(chosen(vars(parser.parse_args(["paper"])))) == 9
    with pytest.raises(UserError) as error:
        chosen(vars(parser.parse_args(["toy", "--only", "table7", "table3", "fig7"])))
    assert error.value.problems[0].startswith("--only: there is no 'table7' (did you mean 'table")
    assert [line.split("'")[1] for line in error.value.problems] == ["table7", "fig7"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Stand in a project whose presets prepare a data set that they share; one more is slow, and one has no data."""
    path = (tmp_path_factory.mktemp("tables") / "project").resolve()
    patch = pytest.MonkeyPatch()

    def presets(data) -> None:
        shrink(data)
        for name in [name for name, block in data.items() if isinstance(block, dict) and "seeds" in block]:
            data[name]["datasets"] = []
        rows = data["datasets"]
        for preset in presets_of("toy", *TABLES):
            data["datasets"] = {"phantom": rows["phantom"]}
            if preset.stem == SLOW:
                data["datasets"] |= {"slow": rows["phantom"] | {"train": 500}}
            if preset.stem == BROKEN:
                data["datasets"] |= {"gone": {"kind": "folder", "path": "nowhere", "size_px": 32, "prompt": "x"}}
                data["datasets"]["gone"]["splits"] = {"train": "train", "test": "test"}
            with preset.open("w") as file:
                YAML().dump(data, file)
        data["datasets"] = rows

    stand_in_project(path, presets, patch)
    for folder in ("outputs/samples", "results/details", "results/pictures"):  # of which these presets make nothing
        Path(folder).mkdir(parents=True)
    yield path
    patch.undo()


def started() -> subprocess.Popen:
    command = [sys.executable, "-m", "pipeline", "tables", "toy"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.graph
def test_stopped_killed_and_run_to_its_end(project):
    own = Path("params.yaml").read_bytes()

    def at_work() -> list[Path]:
        return list(Path("data/processed").glob(".slow.*.partial"))

    for word in (signal.SIGTERM, signal.SIGKILL):
        process = started()
        until(at_work, process)
        process.send_signal(word)
        _, said = process.communicate(timeout=60)
        if word == signal.SIGTERM:
            assert process.returncode == 2
            assert "stopped: " in said
            assert Path("params.yaml").read_bytes() == own
            assert not at_work()
        else:
            assert Path("params.yaml").read_bytes() == Path(f"presets/{SLOW}.yaml").read_bytes()
    shared = os.stat("data/processed/phantom/train/manifest.csv")
    process = started()
    _, said = process.communicate(timeout=300)
    assert "params.yaml: is yours again" in said.splitlines()[0]
    assert process.returncode == 2
    assert said.count("preset ") >= 9
    assert all(f"preset {number} of 9: {path}\n" in said for number, path in enumerate(presets_of("toy", *TABLES), 1))
    assert f"failed: 1 of 10, with the report; their stages' logs: .work/logs\n  presets/{BROKEN}.yaml: " in said
    assert Path("params.yaml").read_bytes() == own
    assert not OWN.exists()
    assert os.stat("data/processed/phantom/train/manifest.csv") == shared
    assert Path("data/processed/slow/train/manifest.csv").is_file()
    assert Path("results/report.html").is_file()
