"""Exports: what each format's own library reads back is what was written, and only train holds synthetic pairs."""

import numpy as np
import pytest
from PIL import Image

from data.exports.bundle import safe_names
from data.exports.formats import FORMATS, Options, export
from data.exports.verify import verify
from data.layouts.layouts import find
from data.pairs.files import sha256_tree
from data.pairs.image_io import levels
from data.pairs.manifest import read_pairs
from tests.data.exports.export_sets import CLASSES, by_hand, grouped, phantom, real_row

OPTIONS = Options(name="kvasir-seg", folds=3, shard_pairs=5, prompt="a photo of a polyp")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return grouped(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def written(sets, tmp_path):
    def write(name):
        return export(name, *sets, tmp_path / name, OPTIONS), tmp_path / name

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_pairs_give_the_same_bytes_and_a_readme(name, sets, tmp_path):
    for folder in ("one", "two"):
        export(name, *sets, tmp_path / folder, OPTIONS)
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")
    text = (tmp_path / "one/README.md").read_text()
    assert "29 pairs, 8 of them synthetic" in text
    assert "| train | 8 | 8 | 8 |" in text
    assert "Synthetic pairs are in train only" in text
    assert str(tmp_path) not in text


def test_pairs_are_read_back_by_this_project(tmp_path):
    real, added = phantom(tmp_path / "in")
    export("pairs", real, [added], tmp_path / "out", OPTIONS)
    train, test = read_pairs(tmp_path / "out/train"), read_pairs(tmp_path / "out/test")
    for pair_set in (train, test):
        verify(pair_set)
    assert {pair.id for pair in train.pairs} == {pair.id for pair in (*real["train"].pairs, *added.pairs)}
    assert {pair.split for pair in train.pairs} == {"train"}
    assert test.pairs == real["test"].pairs
    first = next(pair for pair in train.pairs if pair.source == "siamese")
    assert Image.open(train.folder / first.image).text == {"mask": first.id}
    assert np.array_equal(train.mask(first), real["train"].mask(next(p for p in train.pairs if p.id == first.parent)))


def test_several_classes_and_shared_ids_are_read_back(written):
    bundle, folder = written("pairs")
    for split, items in bundle.splits.items():
        pair_set = read_pairs(folder / split)
        assert len(pair_set) == len(items)
        for item in items:
            pair = next(pair for pair in pair_set.pairs if pair.id == item.id)
            assert np.array_equal(pair_set.labels(pair), item.pair_set.labels(item.pair))
            assert (pair.parent, pair.donor) == (item.parent, item.donor)
    assert [item.id for item in bundle.splits["cvc-300"]] == ["cvc-300-10", "cvc-300-11"]
    assert [item.id for item in bundle.splits["etis"]] == ["20", "e-1", "e-1-2"]
    assert {item.parent for item in bundle.splits["train"]} >= {"", "train-10", "12"}


def test_names_are_safe_and_unique_even_without_case():
    names = safe_names(["a.b", "a b", "A-B", "a-b-2", "ä/..", "x_1"])
    assert names == ["a-b", "a-b-2", "A-B-3", "a-b-2-2", "----", "x_1"]


def test_jsonl_is_recognised_by_our_own_reader(written):
    bundle, folder = written("jsonl")
    found = find(folder)
    assert found.layout == "jsonl"
    assert not found.unmatched
    for split, items in bundle.splits.items():
        sources = {source.id: source for source in found.sources if source.split == split}
        assert set(sources) == {item.id for item in items}
        assert {source.prompt for source in sources.values()} == {OPTIONS.prompt}
        for item in items:
            mask = np.asarray(Image.open(sources[item.id].masks[0]))
            assert np.array_equal(mask, levels(2)[item.pair_set.labels(item.pair)])
    assert {path.stem for path in (folder / "target").iterdir()} == {item.id for item in bundle.splits["train"]}


def test_webdataset_reads_pairs_in_order(written):
    import webdataset

    bundle, folder = written("webdataset")
    assert len(list(folder.glob("train-*.tar"))) == 5
    for split, items in bundle.splits.items():
        shards = [str(path) for path in sorted(folder.glob(f"{split}-*.tar"))]
        read = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
        assert [row["__key__"] for row in read] == [item.id for item in items]
        for row, item in zip(read, items, strict=True):
            assert np.array_equal(np.asarray(row["png"]), item.pair_set.image(item.pair))
            assert np.array_equal(np.asarray(row["mask.png"].convert("L")), levels(2)[item.pair_set.labels(item.pair)])
            assert row["json"]["synthetic"] is item.synthetic
            assert (row["json"]["parent"], row["json"]["split"]) == (item.parent, split)


def test_coco_masks_are_ours_to_the_pixel(written):
    from pycocotools.coco import COCO

    bundle, folder = written("coco")
    for split, items in bundle.splits.items():
        coco = COCO(folder / "annotations" / f"{split}.json")
        assert [row["name"] for row in coco.loadCats(coco.getCatIds())] == list(CLASSES)
        images = {row["file_name"]: row for row in coco.loadImgs(coco.getImgIds())}
        assert len(images) == len(items)
        for item in items:
            image = images[f"{item.id}.png"]
            assert (image["synthetic"], image["parent"]) == (item.synthetic, item.parent)
            assert Image.open(folder / split / "images" / image["file_name"]).size == (image["width"], image["height"])
            labels = np.zeros((image["height"], image["width"]), np.uint8)
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            for annotation in annotations:
                piece = coco.annToMask(annotation)
                rows, columns = np.nonzero(piece)
                left, top = columns.min(), rows.min()
                assert annotation["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
                assert annotation["area"] == piece.sum()
                assert not labels[piece > 0].any()
                labels[piece > 0] = annotation["category_id"]
            assert np.array_equal(labels, item.pair_set.labels(item.pair))
            assert len(annotations) == (3 if labels.any() else 0)


def _load(monkeypatch, tmp_path, *arguments, **options):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(*arguments, **options, cache_dir=str(tmp_path / "cache"))


def test_imagefolder_loads_with_images_and_masks(written, tmp_path, monkeypatch):
    bundle, folder = written("imagefolder")
    assert "\n\n    datasets.load_dataset(" in (folder / "README.md").read_text()
    loaded = _load(monkeypatch, tmp_path, str(folder))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 24, "test_cvc_300": 2, "test_etis": 3}
    for rows, items in zip(loaded.values(), bundle.splits.values(), strict=True):
        for row, item in zip(rows, items, strict=True):
            assert (row["id"], row["parent"], row["synthetic"]) == (item.id, item.parent, item.synthetic)
            assert np.array_equal(np.asarray(row["image"]), item.pair_set.image(item.pair))
            assert np.array_equal(np.asarray(row["mask"]), levels(2)[item.pair_set.labels(item.pair)])


def test_imagefolder_by_its_builder_keeps_test_pairs_out_of_train(sets, tmp_path, monkeypatch):
    real = {**sets[0], "val": by_hand(tmp_path / "val", "val", [real_row("v1")])}
    export("imagefolder", real, sets[1], tmp_path / "out", OPTIONS)
    loaded = _load(monkeypatch, tmp_path, "imagefolder", data_dir=str(tmp_path / "out"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 24, "validation": 1, "test": 5}
    assert {"image", "mask"} <= set(loaded["train"].features)
