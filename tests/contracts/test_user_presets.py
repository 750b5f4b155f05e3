"""Presets for one card, for what the authors published, and for a folder of one's own."""

import functools
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.params.presets import composed
from pipeline.params.read import check_text, read_params
from pipeline.params.schema import Params
from pipeline.plan.prerequisites import missing
from tests.contracts.imports import ROOT

CARDS = {12: "kvasir-384-12gb", 24: "kvasir-384-24gb", 48: "kvasir-384-48gb"}


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(ROOT)


@functools.cache
def preset(name: str) -> Params:
    return read_params(ROOT / f"presets/{name}.yaml")


def lacks(params, *stages: tuple[str, dict]) -> str:
    return "\n".join(line for verb, item in stages for line in missing(verb, item, params))


@pytest.mark.parametrize("name", CARDS.values())
def test_presets_of_a_card_train_the_same_on_less_memory(name):
    params, paper = preset(name), preset("paper-table2")
    training = params.training
    assert training.batch % training.micro_batch == 0
    assert training.batch == {"kvasir-384-48gb": paper.training.batch}.get(name, 32)
    assert training.gradient_checkpointing
    same = {"steps", "lr", "weight_decay", "schedule", "prompt_dropout", "ema"}
    assert training.model_dump(include=same) == paper.training.model_dump(include=same)
    assert params.base == paper.base
    assert params.datasets["kvasir-seg"].size_px == 384
    changed = {"train_decoder": False} if name == "kvasir-384-12gb" else {}
    assert params.generators["siamese"] == paper.generators["siamese"].model_copy(update=changed)


def test_twins_differ_in_what_memory_depends_on_alone():
    whole = {size: preset(name).model_dump() for size, name in CARDS.items()}
    for size in (12, 48):
        differing = {section for section in whole[24] if whole[size][section] != whole[24][section]}
        assert differing == {"training", "sampling"} | ({"generators"} if size == 12 else set())


def test_the_page_has_the_settings_of_each_card():
    """docs/scale.md says what was computed with which micro-batch and optimiser; these must be the presets'."""
    rows = re.findall(r"^\| `kvasir-384-(\d+)gb` \|(.+)\|$", (ROOT / "docs/scale.md").read_text(), re.MULTILINE)
    assert {int(size) for size, _ in rows} == CARDS.keys()
    for size, cells in rows:
        training = preset(CARDS[int(size)]).training
        batch, micro, optimizer = [cell.strip() for cell in cells.split("|")][:3]
        assert (int(batch), int(micro), optimizer) == (training.batch, training.micro_batch, training.optimizer)


def test_a_plan_says_that_the_package_of_8_bit_moments_is_missing():
    stage = ("train", {"dataset": "kvasir-seg", "generator": "siamese", "generator_seed": 0})
    asked = "bitsandbytes" in lacks(preset("kvasir-384-24gb"), stage)
    assert asked == (find_spec("bitsandbytes") is None)
    assert lacks(preset("kvasir-384-48gb"), stage) == ""


def test_published_names_the_files_that_it_needs():
    params = preset("published")
    assert params.generators["published"].weights
    generator = {"dataset": "polyps", "generator": "published", "generator_seed": 0}
    pairs = {"dataset": "polyps", "source": "published_pairs"}
    said = lacks(params, ("train", generator), ("baseline", pairs), ("acquire", {"download": "pranet"}))
    assert f"generators.published.weights: {params.generators['published'].weights} does not exist" in said
    assert f"baselines.published_pairs.path: {params.baselines['published_pairs'].path} does not exist" in said
    assert "accept_licence" in said


def test_a_folder_of_ones_own_takes_ten_lines_and_one_path(tmp_path):
    own = (ROOT / "presets/yours.yaml").read_text()
    assert len(own.splitlines()) <= 10
    text = composed(Path("yours"))
    params = check_text(text, Path("yours"))
    said = lacks(params, ("prepare", {"dataset": "mine"}), ("base", {"dataset": "mine"}))
    assert said == "datasets.mine.path: ../my-pairs does not exist: set it to where the data lies"
    named = text.replace("../my-pairs", str(tmp_path))
    assert lacks(check_text(named, Path("yours")), ("prepare", {"dataset": "mine"})) == ""


@pytest.mark.parametrize("name", [*CARDS.values(), "published"])
def test_the_command_in_the_head_names_the_preset(name):
    head = (ROOT / f"presets/{name}.yaml").read_text().partition("\nextends")[0]
    command = re.search(r"python -m pipeline preset (\S+)", head)
    assert command
    assert shlex.split(command[1]) == [name]
