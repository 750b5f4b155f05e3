"""The command line: every verb in one group with an example that its own options take, under both of its names."""

import importlib
import re
import shlex
import sys
import tomllib

import pytest

from pipeline import cli
from pipeline.verbs import COMMANDS, EVERYDAY, GROUPS, VERBS, example, overview
from tests.contracts.imports import ROOT

ALL = (*COMMANDS, *VERBS)


def test_every_verb_stands_in_one_group_and_the_everyday_ones_come_first():
    grouped = [verb for verbs in GROUPS.values() for verb in verbs]
    assert sorted(grouped) == sorted(ALL)
    shown = re.findall(r"^    (\w+)  ", overview("x"), re.MULTILINE)
    assert shown == grouped
    assert shown[: len(EVERYDAY)] == list(EVERYDAY)


@pytest.mark.parametrize("verb", ALL)
def test_the_example_of_a_verb_is_taken_by_its_options_and_stands_in_its_help(verb, capsys):
    arguments = shlex.split(example(verb))
    assert vars(cli._parser(verb).parse_args(arguments))["verb"] == verb
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    assert capsys.readouterr().out.endswith(f"example:\n  python -m pipeline {example(verb)}\n")


def test_the_console_command_is_the_entry_of_the_module(monkeypatch, capsys):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    ((name, place),) = scripts.items()
    module, _, function = place.partition(":")
    monkeypatch.setattr(sys, "argv", [f"/some/bin/{name}", "params", "--help"])
    with pytest.raises(SystemExit) as end:
        getattr(importlib.import_module(module), function)()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: siamese-pairs params [-h]")


def test_the_console_command_says_so_in_another_copy_of_the_project(tmp_path, monkeypatch, capsys):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/cli.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["siamese-pairs", "generat"])
    assert cli.entry() == 2
    assert f"siamese-pairs runs the code in {ROOT}; for the one here: python -m pipeline" in capsys.readouterr().err


def test_a_verb_that_there_is_not_is_answered_with_the_nearest(capsys):
    assert cli.main(["generat"]) == 2
    said = "there is no verb 'generat' (did you mean 'generate'?): python -m pipeline --help lists all\n"
    assert capsys.readouterr().err == said
    assert cli.main([]) == 2
    assert "every day:\n    preset" in capsys.readouterr().err
