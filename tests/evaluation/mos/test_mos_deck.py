"""A deck that tells raters nothing, of the same masks for all methods and controls that have no part in them."""

import argparse
import csv
import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from data.pairs.errors import UserError
from data.pairs.image_io import read_image, write_image
from data.pairs.manifest import read_pairs
from evaluation.mos.deck import PRACTICE, RATED, Options, pick_controls, pick_synthetic, write_deck
from pipeline.commands import mos
from tests.evaluation.mos.sets import SIZE, write_project, write_set


def command(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    mos.add_arguments(parser)
    mos.run(vars(parser.parse_args(arguments)))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    return root


@pytest.fixture(scope="module")
def made(project):
    """Return the project with a deck of 5 images of each of three sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        command("deck", "--dataset", "toy", "--images", "5", "--practice", "4", "--out", "mos/toy")
    return project


def read_key(folder: Path) -> list[dict[str, str]]:
    with (folder / "key.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def rated(rows, name):
    return [row for row in rows if (row["use"], row["set"]) == (RATED, name)]


def test_every_method_has_the_same_masks_and_as_many_controls(made):
    rows = read_key(made / "mos/toy-key")
    assert {row["set"] for row in rows} == {"alpha-plain", "omega-plain", "alpha-moved", "real"}
    masks = [{(row["id"], row["mask_sha256"]) for row in rated(rows, name)} for name in ("alpha-plain", "omega-plain")]
    assert masks[0] == masks[1]
    assert len(masks[0]) == 5
    parents = [{row["parent"] for row in rated(rows, name)} for name in ("alpha-plain", "alpha-moved")]
    assert parents[0] == parents[1]
    assert [row["split"] for row in rated(rows, "real")] == ["test"] * 5


def test_practice_images_lie_apart_and_share_no_mask_with_rated_ones(made):
    rows = read_key(made / "mos/toy-key")
    practice = [row for row in rows if row["use"] == PRACTICE]
    assert sorted(row["set"] == "real" for row in practice) == [False, False, True, True]
    assert {path.stem for path in files(made / "mos/toy/practice")} == {row["image"] for row in practice}
    origins = {use: {row["parent"] or row["id"] for row in rows if row["use"] == use} for use in (RATED, PRACTICE)}
    assert not origins[RATED] & origins[PRACTICE]


def test_the_key_leads_from_each_name_to_its_pixels(made):
    folders = {"real": made / "data/processed/toy/test"}
    for row in read_key(made / "mos/toy-key"):
        folder = folders.get(row["set"], made / "outputs/samples/x1/toy" / row["set"])
        shown = read_image(made / "mos/toy" / row["use"] / f"{row['image']}.png")
        np.testing.assert_array_equal(shown, read_image(folder / f"images/{row['id']}.png"))


def test_no_name_and_no_text_of_the_deck_tells_what_an_image_is(made):
    rows = read_key(made / "mos/toy-key")
    told = {value.lower() for row in rows for name in ("set", "id", "parent", "mask_sha256") if (value := row[name])}
    told |= {"alpha", "omega", "plain", "moved", "zebra", "held", "toy"}
    told.remove("real")  # the form asks for it
    page = (made / "mos/toy/index.html").read_text().lower()
    names = " ".join(str(path.relative_to(made / "mos/toy")) for path in files(made / "mos/toy"))
    assert not [word for word in told if word in page or word in names]
    assert {path.name for path in (made / "mos/toy").iterdir()} == {"index.html", "images", "practice"}


def test_names_stand_in_the_page_in_the_order_of_the_alphabet(made):
    page = (made / "mos/toy/index.html").read_text()
    for use in (RATED, PRACTICE):
        stems = [path.stem for path in files(made / "mos/toy" / use)]
        places = [page.index(f'"{stem}"') for stem in stems]
        assert places == sorted(places)


def test_the_order_of_the_names_is_no_order_of_the_sets(tmp_path):
    ids = [f"c{number:03}-m-1" for number in range(60)]
    sets = {"a-m": write_set(tmp_path / "a", ids, "a")}
    held = {"test": write_set(tmp_path / "t", [f"t{number:03}" for number in range(60)], "real", "test")}
    write_deck(sets, held, {}, Options(50, 0), tmp_path / "deck", tmp_path / "key")
    real = [row["set"] == "real" for row in sorted(read_key(tmp_path / "key"), key=lambda row: row["image"])]
    changes = sum(first != second for first, second in pairwise(real))
    assert abs(changes - 50) < 4 * 25**0.5  # runs of a random order of 50 and 50: 50 changes, variance 25


def chunks(path: Path) -> list[bytes]:
    data, at, names = path.read_bytes(), 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        names.append(data[at + 4 : at + 8])
        at += 12 + length
    return names


def test_files_of_all_sets_look_alike_from_outside(made):
    sources = made / "outputs/samples/x1/toy/alpha-plain/images"
    held = made / "data/processed/toy/test/images"
    assert b"tEXt" in chunks(files(sources)[0])  # what must not come along
    assert files(sources)[0].stat().st_size < files(held)[0].stat().st_size / 2  # smooth images compress well
    images = [*files(made / "mos/toy/images"), *files(made / "mos/toy/practice")]
    assert len({path.stat().st_size for path in images}) == 1
    assert len({path.stat().st_mtime_ns for path in files(made / "mos/toy")}) == 1
    assert len({path.stat().st_mode for path in images}) == 1
    assert {tuple(chunks(path)) for path in images} == {(b"IHDR", b"IDAT", b"IEND")}
    assert {path.read_bytes()[16:33] for path in images} == {images[0].read_bytes()[16:33]}  # IHDR


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_deck(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    for seed in "0", "1":
        command("deck", "--dataset", "toy", "--images", "5", "--seed", seed, "--out", f"mos/again{seed}")
    for name in ("", "-key"):
        first, again = files(made / f"mos/toy{name}"), files(made / f"mos/again0{name}")
        assert [path.name for path in first] == [path.name for path in again]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    decks = [json.loads((made / f"mos/{name}-key/deck.json").read_text())["deck"] for name in ("toy", "again1")]
    assert decks[0] != decks[1]
    assert "hand mos/again1 to raters" in capsys.readouterr().out


def test_controls_from_training_pairs_are_no_parents_no_donors_and_of_no_group_of_theirs(tmp_path):
    sets = {"a-m": write_set(tmp_path / "a", [f"c{number}-m-1" for number in range(4)], "a", donor="c4")}
    train = write_set(tmp_path / "train", [f"c{number}" for number in range(8)], "real")
    same = write_set(tmp_path / "val", ["v0", "v1"], "real", "val", group="film")
    held = {"test": write_set(tmp_path / "test", ["c0"], "real", "test")}  # the id of a parent, but another image
    options = Options(images=4, practice=0)
    synthetic = pick_synthetic(sets, options)
    picks = pick_controls(held, {"val": same, "train": train}, synthetic, options)
    assert [pick.pair.split for pick in picks] == ["test", "val", "val", "train"]
    picks = pick_controls({}, {"train": train}, synthetic, options)
    assert sorted(pick.pair.id for pick in picks) == ["c5", "c6", "c7"]
    grouped = [pick._replace(pair=type(pick.pair)(**{**vars(pick.pair), "group": "film"})) for pick in synthetic]
    picks = pick_controls(held, {"val": same}, grouped, options)
    assert [pick.pair.id for pick in picks] == ["c0"]


def test_sets_that_share_only_some_masks_show_these_first(tmp_path):
    sets = {
        "a-m": write_set(tmp_path / "a", [f"c{number:02}-m-1" for number in range(20)], "a"),
        "b-m": write_set(tmp_path / "b", [f"c{number:02}-m-1" for number in range(16, 24)], "b"),
    }
    picks = pick_synthetic(sets, Options(images=6, practice=0))
    shown = {name: {pick.pair.id for pick in picks if pick.set == name} for name in sets}
    assert len(shown["a-m"]) == len(shown["b-m"]) == 6
    assert shown["a-m"] & shown["b-m"] == {f"c{number}-m-1" for number in range(16, 20)}


def refusal(monkeypatch, root, *arguments):
    monkeypatch.chdir(root)
    with pytest.raises(UserError) as caught:
        command("deck", "--dataset", "toy", *arguments)
    return str(caught.value)


def test_a_deck_never_takes_the_place_of_another_nor_lies_with_its_key(made, monkeypatch):
    text = refusal(monkeypatch, made, "--out", "mos/toy")
    assert "mos/toy is there already" in text
    assert "mos/toy-key is there already" in text
    assert "must lie apart" in refusal(monkeypatch, made, "--out", "mos/new", "--key", "mos/new/key")
    assert not (made / "mos/new").exists()


def test_sets_that_are_not_there_or_not_synthetic_are_named_with_those_that_are(project, monkeypatch):
    text = refusal(monkeypatch, project, "--set", "gamma-plain", "duplicate-real", "omega-plain", "--out", "mos/x")
    assert "gamma-plain: no such set" in text
    assert "duplicate-real: no such set" in text
    assert "omega-plain: no such set" not in text
    assert "alpha-moved, alpha-plain, omega-plain" in text


def test_images_of_two_sizes_are_refused_and_nothing_is_left(tmp_path, monkeypatch):
    write_project(tmp_path, 4, 4)
    folder = tmp_path / "outputs/samples/x1/toy/omega-plain"
    for pair in read_pairs(folder).pairs:
        write_image(folder / pair.image, np.zeros((SIZE + 8, SIZE, 3), np.uint8))
    text = refusal(monkeypatch, tmp_path, "--out", "mos/x")
    assert f"{SIZE}x{SIZE + 8} px: omega-plain" in text
    assert not (tmp_path / "mos").exists()
