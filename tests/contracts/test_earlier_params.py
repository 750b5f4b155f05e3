"""A params.yaml of an earlier version is refused with the lines that take its place, ready to paste."""

import json
import re
import subprocess
import sys
from itertools import product

import pytest
from ruamel.yaml import YAML

from pipeline.params.blocks import asked_runs
from pipeline.params.earlier import EarlierBlocksError
from pipeline.params.presets import sections
from pipeline.params.read import check_text, read_params
from tests.contracts.imports import ROOT

EMPTY = {"datasets": [], "generators": [], "masks": [], "architectures": [], "seeds": []}
NONE = {**EMPTY, "baselines": [], "scored_baselines": []}
BLOCKS = ("comparison", "second", "third", "other_masks", "volume", "second_volume", "filtered")
PHANTOM = {"datasets": ["phantom"], "masks": ["random"], "seeds": [0]}
DEFAULT = {
    "comparison": {
        **PHANTOM, "baselines": ["real", "duplicate"], "scored_baselines": [], "generators": ["controlnet", "siamese"],
        "masks": ["real", "random"], "architectures": ["unet", "segformer"],
    },
    "second": NONE, "third": NONE, "other_masks": EMPTY, "second_volume": {**EMPTY, "multiples": []},
    "volume": {**PHANTOM, "generators": ["siamese"], "architectures": ["unet", "segformer"], "multiples": [2]},
    "filtered": {**PHANTOM, "generators": ["siamese"], "architectures": ["unet", "segformer"], "filters": ["strict"]},
}  # fmt: skip
SKIN, POLYPS, SURFACES = ["isic2016", "isic2018"], ["polyps"], ["stain", "faeces"]
WHOLE = {  # the earlier toy-all with fewer rows
    "comparison": {
        "datasets": POLYPS, "baselines": ["real", "duplicate"], "scored_baselines": ["duplicate"],
        "generators": ["controlnet", "siamese"], "masks": ["real"], "architectures": ["sanet", "segformer"],
        "seeds": [0],
    },
    "second": {
        "datasets": SKIN, "baselines": ["real", "duplicate"], "scored_baselines": [],
        "generators": ["controlnet", "siamese"], "masks": ["real"], "architectures": ["unet", "segformer"],
        "seeds": [0],
    },
    "third": {
        "datasets": SURFACES, "baselines": ["real"], "scored_baselines": [], "generators": ["siamese"],
        "masks": ["random"], "architectures": ["segformer"], "seeds": [0],
    },
    "other_masks": {
        "datasets": POLYPS + SKIN, "generators": ["siamese"], "masks": ["random"],
        "architectures": ["unet", "segformer"], "seeds": [0],
    },
    "volume": {
        "datasets": POLYPS, "generators": ["siamese"], "masks": ["real", "random"], "architectures": ["segformer"],
        "seeds": [0], "multiples": [2, 3, 4],
    },
    "second_volume": {
        "datasets": SURFACES, "generators": ["siamese"], "masks": ["random"],
        "architectures": ["segformer_synthetic"], "seeds": [0], "multiples": [4],
    },
    "filtered": {**EMPTY, "filters": []},
}  # fmt: skip


def earlier_runs(blocks: dict) -> set[tuple]:
    """Return what the earlier version asked for, as `asked_runs` does: every generator was trained with one seed, 0."""
    found = set()
    for name in ("comparison", "second", "third", "other_masks", "volume", "second_volume", "filtered"):
        block = blocks[name]
        sets = list(product(block["generators"], block["masks"]))
        if name == "filtered":
            sets = [(f"{one}-{row}", masks) for (one, masks), row in product(sets, block["filters"])]
        sets = [(*added, 0) for added in sets] + [(one, "real", None) for one in block.get("baselines", [])]
        places = product(block["datasets"], block["architectures"], sets, block.get("multiples", [1]), block["seeds"])
        found |= {(*place, *added[:2], multiple, seed, added[2]) for *place, added, multiple, seed in places}
    return found


def text_of(blocks: dict, rest: str) -> str:
    """Return a params.yaml of these blocks and the other sections of `rest`."""
    lines = [f"{name}: {block}\n" for name, block in blocks.items()]
    return "".join([*lines, *(text for name, text in sections(rest).items() if name not in BLOCKS)])


def pasted(text: str, problems: tuple[str, ...]) -> list[str]:
    """Return the files that a user makes of the lines that were printed."""
    kept = "".join(section for name, section in sections(text).items() if name not in BLOCKS)
    files = re.split(r"^# file \d of \d\n", "\n".join([*problems, ""]), flags=re.MULTILINE)
    return [f"{lines}\n{kept}" for lines in files if lines.strip()]


@pytest.mark.parametrize(("blocks", "preset", "files"), [(DEFAULT, "params.yaml", 1), (WHOLE, "_toy.yaml", 4)])
def test_what_is_printed_asks_for_the_same_runs(blocks, preset, files, tmp_path):
    rest = (ROOT / preset if preset == "params.yaml" else ROOT / "presets" / preset).read_text()
    text = text_of(blocks, rest)
    with pytest.raises(EarlierBlocksError) as refused:
        check_text(text, tmp_path / "params.yaml")
    found = pasted(text, refused.value.problems)
    assert len(found) == files
    asked = set()
    for number, new in enumerate(found):
        asked |= set(asked_runs(check_text(new, tmp_path / f"{number}.yaml")))
    lost = earlier_runs(blocks) - asked
    assert lost == {run for run in earlier_runs(blocks) if run[:2] == ("polyps", "unet")}  # no 1x run to compare with
    assert asked <= earlier_runs(blocks)
    assert ("# other_masks.architectures: without unet" in str(refused.value)) == bool(lost)


def test_the_default_is_printed_as_it_is_shipped(tmp_path):
    (tmp_path / "params.yaml").write_text(text_of(DEFAULT, (ROOT / "params.yaml").read_text()))
    command = [sys.executable, "-m", "pipeline", "params", "--file", str(tmp_path / "params.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    title, *lines = done.stderr.splitlines()
    assert "is of an earlier version: put these lines in the place of comparison, second, third," in title
    shipped = read_params(ROOT / "params.yaml")
    for name, block in YAML(typ="safe").load("\n".join(lines)).items():
        written = getattr(shipped, name).model_dump(exclude_unset=True)
        assert {key: tuple(values) for key, values in block.items()} == written, name


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda blocks: blocks["comparison"].pop("scored_baselines"), ["  references: [real, duplicate]"]),
        (
            lambda blocks: blocks["comparison"].update(baselines=["duplicate", "mine"], scored_baselines=["duplicate"]),
            ["# duplicate is not scored any more", "  references: [duplicate]", "  baselines: [mine]"],
        ),
        (
            lambda blocks: blocks["other_masks"].update(
                {**DEFAULT["volume"], "generators": ["controlnet", "siamese"], "masks": ["more"]}
            ),
            ["  masks: [real, random, more]"],
        ),
        (
            lambda blocks: blocks.update(
                other_masks={**DEFAULT["volume"], "masks": ["more"]}, volume={**DEFAULT["volume"], "masks": ["more"]}
            ),
            ["  masks: [more]", "  multiples: [1, 2]"],
        ),
        (lambda blocks: blocks.update(comparison=None, volume=[1], third={"datasets": "x"}), ["filtered: {datasets"]),
    ],
)
def test_what_can_be_said_in_three_blocks_is_one_file(change, lines, tmp_path):
    blocks = {name: dict(block) for name, block in DEFAULT.items()}
    change(blocks)
    with pytest.raises(EarlierBlocksError) as refused:
        check_text(text_of(blocks, ""), tmp_path / "params.yaml")
    assert not any("file 1" in line for line in refused.value.problems)
    for line in lines:
        assert any(printed.startswith(line) for printed in refused.value.problems), refused.value


def test_the_lists_alone_tell_an_earlier_file(tmp_path):
    blocks = {name: dict(DEFAULT[name]) for name in ("comparison", "volume", "filtered")}
    del blocks["comparison"]["scored_baselines"]
    with pytest.raises(EarlierBlocksError):
        check_text(text_of(blocks, ""), tmp_path / "params.yaml")


def of_one_seed(seed: int) -> str:
    """Return the shipped params.yaml as it was when a generator had one seed, in `training`."""
    lines = (ROOT / "params.yaml").read_text().splitlines(keepends=True)
    kept = (line for line in lines if not line.startswith("  generator_seeds:"))
    return "".join(kept).replace("\ntraining:\n", f"\ntraining:\n  seed: {seed}\n")


@pytest.mark.parametrize("seed", [0, 3])
def test_the_seed_of_training_becomes_a_list_of_each_block(seed, tmp_path):
    old = of_one_seed(seed)
    with pytest.raises(EarlierBlocksError) as refused:
        check_text(old, tmp_path / "params.yaml")
    assert "remove training.seed, and put these lines into the blocks" in refused.value.title
    lines = YAML(typ="safe").load("\n".join(refused.value.problems))
    assert lines == {name: {"generator_seeds": [seed]} for name in ("comparison", "volume", "filtered")}
    new = YAML(typ="safe").load(old)
    del new["training"]["seed"]
    for name, block in lines.items():
        new[name] |= block
    assert {run[-1] for run in asked_runs(check_text(json.dumps(new), tmp_path / "new.yaml"))} == {seed, None}


def test_earlier_blocks_get_the_seed_too(tmp_path):
    text = text_of(DEFAULT, (ROOT / "params.yaml").read_text()).replace("\ntraining:\n", "\ntraining:\n  seed: 5\n")
    with pytest.raises(EarlierBlocksError) as refused:
        check_text(text, tmp_path / "params.yaml")
    assert "remove training.seed, and put these lines in the place of comparison" in refused.value.title
    assert [line for line in refused.value.problems if "generator_seeds" in line] == ["  generator_seeds: [5]"] * 3
