"""python -m pipeline weights: what is there, in which folder, and what fetching leaves behind."""

import argparse
import json
from pathlib import Path

import pytest

from data.pairs.errors import UserError
from data.pretrained import lite0
from evaluation.features.weights import VARIABLE, WEIGHTS, WeightFile
from pipeline.commands import weights
from pipeline.params.schema import Params
from tests.data.acquire.test_fetch import BODY, OTHER, digest, start_server


@pytest.fixture
def site(monkeypatch):
    yield from start_server(monkeypatch)


@pytest.fixture(autouse=True)
def toys(monkeypatch, site, tmp_path):
    """Make the manifest two files of the site, and run in a folder of its own."""
    for name in list(WEIGHTS):
        monkeypatch.delitem(WEIGHTS, name)
    for name in ("known", "new"):
        row = {
            "path": f"toy/{name}.bin",
            "url": f"{site.root}/a.zip",
            "page": "https://example.org",
            "sha256": digest(BODY),
        }
        row |= {
            "sha256": digest(BODY),
            "size_bytes": 300_000,
            "extractor": "toy",
            "used_for": "tests",
            "licence": "CC0",
        }
        monkeypatch.setitem(WEIGHTS, name, WeightFile(**row))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    parser = argparse.ArgumentParser()
    weights.add_arguments(parser)
    weights.run(vars(parser.parse_args([str(argument) for argument in arguments])))


def listed(capsys, *arguments):
    """Return the state of each file."""
    run(*arguments, "--json")
    return {name: file["state"] for name, file in json.loads(capsys.readouterr().out)["files"].items()}


def test_states_from_missing_to_altered(capsys, site):
    assert listed(capsys) == {"known": "missing", "new": "missing"}
    assert not Path("weights").exists()
    assert listed(capsys, "--fetch") == {"known": "present", "new": "present"}
    assert listed(capsys, "new") == {"new": "present"}
    for name in WEIGHTS:
        Path(f"weights/toy/{name}.bin").write_bytes(OTHER)
    assert listed(capsys) == {"known": "altered", "new": "altered"}
    assert len(site.requests) == 2


def test_the_table_says_how_to_get_what_is_missing(capsys, tmp_path):
    folder = tmp_path / "elsewhere"
    run("known", "--fetch", "--dir", folder)
    capsys.readouterr()
    run("--dir", folder)
    text = capsys.readouterr().out
    assert text.splitlines()[1].split()[:2] == ["known", "present"]
    assert str(folder / "toy/new.bin") in text
    assert "CC0: https://example.org" in text
    assert f"python -m pipeline weights new --fetch --dir {folder}" in text
    run("known", "--dir", folder)
    assert "to get" not in capsys.readouterr().out


def test_json_tells_the_whole_row(capsys, tmp_path):
    (tmp_path / "weights/toy").mkdir(parents=True)
    (tmp_path / "weights/toy/known.bin").write_bytes(BODY)
    run("known", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == "weights"
    row = found["files"]["known"]
    assert (row["path"], row["sha256"]) == ("weights/toy/known.bin", digest(BODY))
    assert row["sha256_published"] == digest(BODY)
    assert {"url", "page", "size_bytes", "used_for", "extractor", "licence"} <= row.keys()


def test_what_cannot_be_had_is_a_user_error_and_the_rest_is_there(capsys, site):
    site.statuses = [404]
    with pytest.raises(UserError, match=r"known: .* the server answered 404"):
        run("--fetch")
    assert listed(capsys) == {"known": "missing", "new": "present"}


def test_lite0_is_listed_and_comes_by_pip(capsys, monkeypatch):
    run("lite0", "--json")
    row = json.loads(capsys.readouterr().out)["packages"]["lite0"]
    assert row == {
        "package": lite0.PACKAGE, "state": "present", "path": str(lite0.lite0_file()), "sha256_published": lite0.SHA256,
    }  # fmt: skip
    monkeypatch.setattr(lite0, "PACKAGE", "not-here-at-all")
    run()
    text = capsys.readouterr().out
    assert "lite0      missing    from the package not-here-at-all" in text
    assert "pip install not-here-at-all==" in text
    with pytest.raises(UserError, match="needs the package not-here-at-all"):
        run("lite0", "--fetch")


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"there is no 'knwon' \(did you mean 'known'\?\); allowed: known, new"):
        run("new", "knwon")


def test_the_variable_goes_before_the_default_and_the_option_before_both(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    run()
    assert f"weights in {tmp_path / 'variable'}\n" in capsys.readouterr().out
    run("--dir", tmp_path / "option")
    assert f"weights in {tmp_path / 'option'}\n" in capsys.readouterr().out


@pytest.mark.skipif("features" not in Params.model_fields, reason="params.yaml has no section features yet")
def test_params_yaml_names_the_folder(capsys):
    from ruamel.yaml import YAML

    from tests.contracts.imports import ROOT

    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text())
    params["features"] = {**params.get("features", {}), "weights_dir": "of-params"}
    with Path("params.yaml").open("w") as file:
        yaml.dump(params, file)
    run()
    assert "weights in of-params\n" in capsys.readouterr().out
