"""Images without masks: read as strictly as pairs, prepared alike, and none of val or a test set is among them."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from data.doctor.doctor import examine
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import read_image
from data.pairs.prepared import Prepared, read_lone_images
from data.pairs.resize import letterbox
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from tests.data.layouts.trees import draw, save


def row(path, **changes) -> FolderDataset:
    base = {"kind": "folder", "path": str(path), "size_px": 32, "prompt": "p"}
    base |= {"splits": {"train": "train", "test": "test"}, "unlabelled": "frames"}
    return FolderDataset.model_validate_json(json.dumps({**base, **changes}))


def lone(path, name=None, **options) -> None:
    """Write an image that looks like no other, or like the one drawn by that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(name or str(path))[0]).save(path, **options)


@pytest.fixture
def clinic(tmp_path):
    root = tmp_path / "clinic"
    for side, count in (("train", 6), ("test", 3)):
        for number in range(count):
            save(root / f"{side}/images/{side}{number}.png", root / f"{side}/masks/{side}{number}.png")
    for number in range(4):
        lone(root / f"frames/day{number % 2}/frame{number}.png")
    return root


@pytest.fixture
def made(clinic, tmp_path, capsys):
    """Return the function that prepares a row with these keys and gives the images, their sources and what was said."""

    def run(**changes):
        prepare(row(clinic, **changes), tmp_path / "out", tmp_path / "lone")
        found = read_lone_images(tmp_path / "lone")
        return found, sorted(image.source for image in found.rows), capsys.readouterr().err

    return run


def problems(clinic, tmp_path, **changes) -> list[str]:
    with pytest.raises(UserError) as caught:
        prepare(row(clinic, **changes), tmp_path / "out", tmp_path / "lone")
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob("*lone*"))
    return list(caught.value.problems)


def test_every_picture_below_the_folder_is_read_whatever_its_format_and_size(clinic, made):
    lone(clinic / "frames/a.jpg", quality=95)
    Image.fromarray(draw("grey")[0][:40, :, 0]).save(clinic / "frames/grey.tif")
    Image.fromarray(draw("palette")[0]).quantize(200).save(clinic / "frames/b.gif")
    (clinic / "frames/.DS_Store").write_bytes(b"x")
    (clinic / "frames/._a.jpg").write_bytes(b"x")
    (clinic / "frames/notes.txt").write_text("of the clinic")
    found, sources, said = made()
    expected = [
        "a.jpg",
        "b.gif",
        "day0/frame0.png",
        "day0/frame2.png",
        "day1/frame1.png",
        "day1/frame3.png",
        "grey.tif",
    ]
    assert sources == [f"frames/{name}" for name in expected]
    assert "unlabelled: 7 images pretrain the base" in said
    assert "notes.txt: is not read" in said
    assert [image.id for image in found.rows] == sorted(image.id for image in found.rows)
    assert {image.native for image in found.rows} == {"64x64", "64x40"}
    joined = found.after(np.zeros((2, 32, 32, 3), np.uint8))
    assert joined.shape == (9, 32, 32, 3)
    assert not joined[:2].any()
    assert all(
        (joined[2 + place] == read_image(found.folder / image.image)).all() for place, image in enumerate(found.rows)
    )


def test_pairs_are_as_they_are_without_and_two_runs_leave_the_same_bytes(clinic, made, tmp_path):
    made()
    first = sha256_tree(tmp_path / "lone")
    made()
    assert sha256_tree(tmp_path / "lone") == first
    prepare(row(clinic, unlabelled=[]), tmp_path / "bare", tmp_path / "none")
    assert sha256_tree(tmp_path / "bare") == sha256_tree(tmp_path / "out")
    assert Prepared(tmp_path / "out").names() == ["test", "train"]
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["images.csv"]
    images = np.ones((1, 32, 32, 3), np.uint8)
    assert read_lone_images(tmp_path / "none").after(images) is images


def test_an_image_is_resized_as_its_like_among_the_pairs(clinic, made):
    wide = draw("wide")[0][:30]
    Image.fromarray(wide).save(clinic / "frames/wide.png")
    found, _, _ = made(fit="letterbox", antialias=True)
    image = next(image for image in found.rows if image.source == "frames/wide.png")
    expected, _, box = letterbox(wide, np.zeros(wide.shape[:2], np.uint8), 32, antialias=True)
    assert (read_image(found.folder / image.image) == expected).all()
    assert image.box == box != ""
    assert {other.box for other in found.rows if other.native == "64x64"} == {""}


def test_broken_files_of_pairs_and_pool_are_named_at_once(clinic, tmp_path):
    (clinic / "train/images/train1.png").write_bytes(b"no picture")
    (clinic / "frames/cut.png").write_bytes((clinic / "frames/day0/frame0.png").read_bytes()[:700])
    Image.fromarray(np.full((40, 48), 40000, np.uint16)).save(clinic / "frames/deep.png")
    (clinic / "frames/scan.dcm").write_bytes(b"x")
    (clinic / "frames/gone.png").symlink_to(clinic / "nowhere.png")
    (clinic / "frames/.hidden.png").write_bytes(b"x")
    text = "\n".join(lines := problems(clinic, tmp_path))
    assert len(lines) == 6, text
    for part in (
        "train1.png: is not an image", "cut.png: is damaged", "deep.png: has more than 8 bits",
        "scan.dcm: is not read: DICOM file", "gone.png: is a link to", ".hidden.png: is not read: it is hidden",
    ):  # fmt: skip
        assert part in text


def test_images_of_a_test_set_are_refused_all_at_once(clinic, tmp_path):
    with Image.open(clinic / "test/images/test0.png") as picture:
        picture.save(clinic / "frames/same.png")
        picture.resize((90, 90)).save(clinic / "frames/nearly.jpg", quality=80)
    blank = np.full((64, 64, 3), 30, np.uint8)  # no thumbnail tells it, only its pixels
    Image.fromarray(blank).save(clinic / "test/images/test2.png")
    Image.fromarray(blank).save(clinic / "frames/blank.bmp")
    lines = problems(clinic, tmp_path)
    assert len(lines) == 3
    for name, pair in (("same.png", "test0"), ("nearly.jpg", "test0"), ("blank.bmp", "test2")):
        line = next(line for line in lines if name in line)
        assert f"frames/{name} and test/{pair} are nearly the same image" in line
        assert f"allow_duplicates: [{pair}]" in line


def test_what_is_allowed_twice_is_kept_from_the_base(clinic, made):
    lone(clinic / "frames/same.png", str(clinic / "test/images/test0.png"))
    _, sources, said = made(allow_duplicates=["test0"])
    assert "frames/same.png" not in sources
    assert len(sources) == 4
    assert "1 are left out, for val or a test set holds them" in said


def test_training_images_are_not_taken_twice_and_doubles_are_counted(clinic, made):
    lone(clinic / "frames/known.png", str(clinic / "train/images/train0.png"))
    lone(clinic / "frames/day1/again.png", str(clinic / "frames/day0/frame0.png"))
    _, sources, said = made()
    assert "frames/known.png" not in sources
    assert len(sources) == 5
    assert "1 are training images anyhow" in said
    assert "1 are there more than once" in said


def test_rest_is_what_limit_leaves_out_of_train(clinic, made):
    found, sources, _ = made(unlabelled="rest", limit={"train": 2})
    prepared = Prepared(found.folder.parent / "out")
    train = {f"train/images/{pair.id}.png" for pair in prepared.train.pairs}
    assert len(train) == 2
    assert set(sources) == {f"train/images/train{number}.png" for number in range(6)} - train
    _, both, _ = made(unlabelled=["rest", "frames"], limit={"train": 2})
    assert set(both) - set(sources) == {f"frames/day{number % 2}/frame{number}.png" for number in range(4)}


def test_rest_of_slices_is_no_image_of_another_split(clinic, made):
    splits = {"train": "train[:2]", "val": "train[4:5]", "test": "test"}
    _, sources, _ = made(unlabelled="rest", splits=splits)
    assert sources == [f"train/images/train{number}.png" for number in (2, 3, 5)]


def test_rest_of_drawn_splits_and_folds_holds_no_test_image(clinic, made, tmp_path):
    for cut in ({"splits": {"train": 0.6, "test": 0.4}}, {"folds": {"count": 3, "test": 0}, "splits": {}}):
        _, sources, _ = made(unlabelled="rest", limit={"train": 2}, **cut)
        tests = {pair.id for pairs in Prepared(tmp_path / "out").tests().values() for pair in pairs.pairs}
        assert sources
        assert not {source.rpartition("/")[2].removesuffix(".png") for source in sources} & tests


def test_groups_of_test_sets_never_enter(clinic, made):
    for number in range(3):
        lone(clinic / f"frames/test{number}_more.png")
    lone(clinic / "frames/train0_more.png")
    _, sources, said = made(group=r"^((train|test)\d+|.*)")
    assert "frames/train0_more.png" in sources
    assert not [source for source in sources if "test" in source]
    assert "3 are left out, for their groups are in val or a test set" in said


def test_groups_of_a_table_count_for_the_rest_of_a_slice(clinic, made):
    lines = [f"train{number},p{number % 3}" for number in range(6)] + [f"test{number},q" for number in range(3)]
    (clinic / "groups.csv").write_text("\n".join(lines))
    splits = {"train": "train[:2]", "val": "train[2:3]", "test": "test"}
    _, sources, said = made(unlabelled="rest", splits=splits, group="groups.csv")
    assert sources == ["train/images/train3.png", "train/images/train4.png"]
    assert "1 are left out, for their groups" in said


@pytest.mark.parametrize(
    ("unlabelled", "words"),
    [
        ("nothing", "is not a folder: name one in path"),
        ("empty", "holds no image that can be read"),
        ("train", "holds pairs, such as"),
        ("train/masks", "hold two values, as masks do"),
        ("train/images", "no image is left; 6 are training images anyhow"),
        ("linked", "is a link to a folder, in which DVC sees no change"),
    ],
)
def test_a_folder_that_serves_not_is_refused(unlabelled, words, clinic, tmp_path):
    (clinic / "empty").mkdir()
    os.symlink(clinic / "frames", clinic / "linked")
    lines = problems(clinic, tmp_path, unlabelled=unlabelled)
    assert len(lines) == 1
    assert words in lines[0]


def test_linked_files_are_read(clinic, made):
    (clinic / "links").mkdir()
    for path in clinic.glob("frames/*/*.png"):
        (clinic / "links" / path.name).symlink_to(path)
    assert len(made(unlabelled="links")[1]) == 4


@pytest.mark.parametrize("name", ["/somewhere/else", "~/frames", "../frames", ".", ""])
def test_a_folder_outside_of_path_is_refused_with_the_way(name, clinic):
    with pytest.raises(ValidationError, match="must lie below path, which DVC watches"):
        row(clinic, unlabelled=["frames", name])


def test_rest_needs_something_that_is_left(clinic, tmp_path):
    with pytest.raises(ValidationError, match="rest is what limit or a slice leaves out of train"):
        row(clinic, unlabelled="rest")
    assert "rest is empty" in problems(clinic, tmp_path, unlabelled="rest", limit={"train": 6})[0]
    for number in range(2):
        lone(clinic / f"rest/{number}.png")
    prepare(row(clinic, unlabelled="./rest"), tmp_path / "out", tmp_path / "lone")
    assert len(read_lone_images(tmp_path / "lone")) == 2


@pytest.mark.parametrize("place", ["frames", "images/frames", "images_more"])
def test_the_folder_does_no_harm_to_the_layout_of_the_pairs(place, tmp_path, capsys):
    root = tmp_path / "raw"
    for number in range(8):
        save(root / f"images/{number}.png", root / f"masks/{number}.png")
        lone(root / f"{place}/deep/images/{number}.png")
    sets = prepare(row(root, splits={"train": 0.5, "test": 0.5}, unlabelled=place), tmp_path / "out", tmp_path / "lone")
    assert {name: len(pairs) for name, pairs in sets.items()} == {"train": 4, "test": 4}
    assert len(read_lone_images(tmp_path / "lone")) == 8
    assert "files are not read" not in capsys.readouterr().err


def test_slices_of_volumes_serve_too(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    cut = {"window": [0, 255], "axis": 2, "keep": "lesion"}
    for number in range(5):
        values = np.random.default_rng(number).integers(0, 255, (40, 36, 4)).astype(np.int16)
        labels = np.zeros(values.shape, np.uint8)
        labels[5:20, 5:20, 1] = 1
        for folder, array in (("images", values), ("labels", labels)) if number < 4 else (("more", values),):
            (tmp_path / "raw" / folder).mkdir(parents=True, exist_ok=True)
            nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / f"raw/{folder}/{number}.nii.gz")
    changes = {"images": "images/{id}.nii.gz", "masks": "labels/{id}.nii.gz", "slices": cut, "mask_threshold": 0}
    volumes = row(tmp_path / "raw", splits={"train": 0.5, "test": 0.5}, unlabelled="more", **changes)
    prepare(volumes, tmp_path / "out", tmp_path / "lone")
    assert sorted(image.source for image in read_lone_images(tmp_path / "lone").rows) == [
        f"more/4.nii.gz 4-000{index}" for index in range(4)
    ]


def test_the_doctor_tells_of_folders_that_could_serve(clinic):
    assert not [note for note in examine(clinic)[0]["notes"] if "unlabelled" in note]  # four are too few
    lone(clinic / "frames/more.png")
    assert [note for note in examine(clinic)[0]["notes"] if "unlabelled" in note] == [
        "frames/ holds 5 pictures and no pair: if they are images without masks, the base is pretrained on them by "
        "unlabelled: frames"
    ]
    with pytest.raises(UserError, match=r"none of the 5 pictures is a mask: .*unlabelled: frames"):
        examine(clinic / "frames")
