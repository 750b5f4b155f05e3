"""Exports: what is refused, all at once and without leaving anything behind, and the verb."""

import argparse
import json
import re
from dataclasses import replace

import pytest

from data.exports.bundle import collect
from data.exports.formats import Options, export
from data.pairs.errors import UserError
from data.pairs.image_io import read_image, write_image, write_mask
from data.pairs.manifest import complete, write_manifest
from data.pairs.prepared import Prepared
from pipeline.commands.export import add_arguments, run
from tests.data.exports.export_sets import by_hand, grouped, labels_of, made_row, phantom, real_row

OPTIONS = Options(name="kvasir-seg")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return grouped(tmp_path_factory.mktemp("sets"))


def test_what_does_not_go_together_is_named_at_once(sets, tmp_path):
    real, added = sets
    odd = [made_row("x", "cvc-300-10"), made_row("y", "e.1"), made_row("z", "12", "99"), real_row("r")]
    strangers = by_hand(tmp_path / "odd", "train", odd)
    masks = replace(added[0], pairs=(replace(added[0].pairs[0], id="m", image=""),))
    other = replace(added[0], pairs=(replace(added[0].pairs[0], id="o", classes="polyp"),))
    test = by_hand(tmp_path / "test", "test", [made_row("s", "12")])
    with pytest.raises(UserError) as error:
        collect({**real, "test": test}, [*added, strangers, masks, other, added[0]])
    text = str(error.value)
    for part in (
        "test/s: is no real pair", "/x: its parent 'cvc-300-10' is no", "/y: its parent 'e.1' is no",
        "/z: its donor '99' is no", "/r: says that it is real", "/m: has no image", "classes are polyp, those",
        "10-random-1: is in",
    ):  # fmt: skip
        assert part in text
    assert len(error.value.problems) == 7 + len(added[0])  # the last is every pair of the repeated set


@pytest.mark.parametrize("name", ["pairs", "nnunet", "imagefolder", "coco"])
def test_pairs_without_a_parent_go_to_train_and_say_so(sets, tmp_path, name):
    drawn = by_hand(tmp_path / "drawn", "train", [made_row("1", ""), made_row("two", "")])
    near = drawn.folder / drawn.pairs[1].image
    write_image(near, read_image(near), {"near-copy": "yes"})
    drawn = write_manifest(drawn.folder, [drawn.pairs[0], complete(drawn.folder, drawn.pairs[1])])
    bundle = export(name, sets[0], [sets[1][0], drawn], tmp_path / "out", replace(OPTIONS, folds=2))
    assert "\n1 added images say of themselves that they are near copies" in (tmp_path / "out/README.md").read_text()
    items = [item for item in bundle.splits["train"] if not (item.real or item.parent)]
    assert [(item.id, item.synthetic) for item in items] == [("1", True), ("two", True)]
    assert "2 pairs name no parent" in (tmp_path / "out/README.md").read_text()
    assert not any(item.parent for items in bundle.splits.values() for item in items if item.real)
    for splits in (tmp_path / "out").rglob("splits_final.json"):
        for fold in json.loads(splits.read_text()):
            assert {"1", "two"} <= set(fold["train"])
            assert not {"1", "two"} & set(fold["val"])


def test_the_mask_of_a_test_pair_is_refused_where_no_parent_is_named(sets, tmp_path):
    stolen = by_hand(tmp_path / "stolen", "train", [made_row("11", ""), made_row("12", "")])
    with pytest.raises(UserError) as error:
        export("coco", sets[0], [stolen], tmp_path / "out", OPTIONS)
    (line,) = error.value.problems
    assert re.search(r"stolen/11 is the mask of cvc-300/11 \(IoU 1", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("splits", [[], ["etis"]])
def test_without_real_training_pairs_nothing_is_exported(splits, sets, tmp_path):
    with pytest.raises(UserError, match="no real training pair"):
        export("pairs", {name: sets[0][name] for name in splits}, [], tmp_path / "out", OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(sets, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="name another folder"):
            export("pairs", *sets, place, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_changed_file_leaves_no_export(tmp_path):
    real = {"train": by_hand(tmp_path / "train", "train", [real_row("1"), real_row("2")])}
    write_mask(tmp_path / "train/masks/1.png", labels_of("10"), 2)
    with pytest.raises(UserError, match=r"masks/1\.png"):
        export("coco", real, [], tmp_path / "out", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_shards_of_nothing_are_refused(sets, tmp_path):
    with pytest.raises(UserError, match="at least 1"):
        export("webdataset", *sets, tmp_path / "out", replace(OPTIONS, shard_pairs=0))


def test_the_verb_writes_and_counts(tmp_path, capsys):
    phantom(tmp_path / "in")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    places = ["--real", f"{tmp_path}/in/phantom", "--added", f"{tmp_path}/in/x1", "--out", f"{tmp_path}/out"]
    run(vars(parser.parse_args(["--format", "nnunet", *places, "--folds", "2"])))
    assert capsys.readouterr().out.splitlines()[:2] == ["train: 6 real, 6 siamese", "test: 4 real"]
    assert (tmp_path / "out/Dataset501_Phantom/dataset.json").is_file()
    with pytest.raises(SystemExit):
        parser.parse_args(["--format", "voc", *places])
    with pytest.raises(UserError, match="holds no splits"):
        Prepared(tmp_path / "in/x1").splits()


def test_the_verb_copies_the_cards_of_the_exported_sets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, added = phantom(tmp_path / "in")
    folder = tmp_path / "outputs/samples/x1/phantom/siamese-real"
    folder.parent.mkdir(parents=True)
    added.folder.rename(folder)
    for name in ("siamese-real", "other-real"):
        (tmp_path / "results/cards/phantom" / name).mkdir(parents=True)
        (tmp_path / "results/cards/phantom" / name / "DATASET_CARD.md").write_text(name)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    places = ["--real", "in/phantom", "--added", str(folder), "--out", "out"]
    run(vars(parser.parse_args(["--format", "imagefolder", *places])))
    cards = sorted((tmp_path / "out").glob("cards/**/*.md"))
    assert [card.read_text() for card in cards] == ["siamese-real"]
    assert "cards of phantom/siamese-real" in capsys.readouterr().out
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 12, "test": 4}
