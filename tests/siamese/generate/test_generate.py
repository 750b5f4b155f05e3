"""Images for any masks: the same bytes by Python, by the command and by the stage; whole or not at all."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from pipeline.cli import main
from pipeline.stages import sample
from siamese import Generator, load_generator
from siamese.found import sampling_of
from tests.contracts.imports import ROOT
from tests.siamese.generate.conftest import GENERATOR


@pytest.fixture(scope="session")
def generator(project):
    return load_generator(project / GENERATOR)


def generate(project, *options) -> int:
    return main(["generate", "--generator", str(project / GENERATOR), *map(str, options)])


def pixels(images) -> list[bytes]:
    return [image.tobytes() for image in images]


def test_importing_the_door_imports_no_torch():
    code = "import sys, siamese; sys.exit('torch' in sys.modules or 'load_generator' not in siamese.__all__)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.heavy
def test_python_the_command_and_the_stage_make_the_same_bytes(project, drawn, generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert generate(project, "--masks", drawn, "--out", "made") == 0
    in_python = generator(sorted(drawn.iterdir()), progress=False)
    cfg, _ = sampling_of(project, {})
    monkeypatch.chdir(project)
    monkeypatch.setenv("SIAMESE_WORK", str(tmp_path / "work"))
    item = {"dataset": "phantom", "generator": "controlnet", "generator_seed": 3, "masks": "real"}
    sample.run(item, SimpleNamespace(sampling=cfg))
    stage = project / "outputs/samples/x1/phantom/controlnet-g3-real"
    for folder in ("images", "masks"):
        assert sha256_tree(tmp_path / "made" / folder) == sha256_tree(stage / folder)
    assert pixels(in_python) == [Image.open(path).tobytes() for path in sorted((stage / "images").iterdir())]
    assert len(set(pixels(in_python))) == len(in_python) == 5
    assert not list(tmp_path.glob(".made*"))
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["images", "manifest.csv", "masks"]


def test_a_set_of_the_project_keeps_its_rows(project, generator):
    masks = project / "outputs/masks/phantom/real/1"
    rows, before = [mask.pair for mask in generator.read(masks)], read_pairs(masks).pairs
    assert [(row.id, row.parent, row.split) for row in rows] == [(row.id, row.parent, row.split) for row in before]
    assert all(row.parent for row in rows)


def test_an_image_depends_on_its_mask_id_and_seed_alone(project, drawn, generator, tmp_path):
    made = generator.write(drawn, tmp_path / "made", per_mask=2)
    names = sorted(path.stem for path in drawn.iterdir())
    assert [row.id for row in made.pairs] == [f"{name}-{number}" for name in names for number in (1, 2)]
    twice = [made.image(row).tobytes() for row in made.pairs]
    assert len(set(twice)) == 10
    paths = [drawn / f"{name}.png" for name in names]
    assert pixels(generator(paths[:2:-1], progress=False)) == [twice[8], twice[6]]
    assert pixels(generator(paths[1], progress=False)) == twice[2:3]
    assert pixels(generator(paths[1], seed=1, progress=False)) != twice[2:3]
    (alone,) = load_generator(project / GENERATOR, batch=1, device="cpu")(paths[1], progress=False)
    assert np.abs(np.asarray(alone).astype(int) - made.image(made.pairs[2])).max() <= 1


def test_paths_pictures_and_arrays_of_one_mask_make_one_image(drawn, generator):
    path = sorted(drawn.iterdir())[0]
    picture = Image.open(path)
    array = np.asarray(picture)
    forms = [path, str(path), picture, picture.convert("RGB"), array, array > 0, (array > 0).astype(np.int64)]
    images = [generator([form], ids=["same"], progress=False)[0] for form in forms]
    assert len(set(pixels(images))) == 1
    assert images[0].size == (32, 32)
    assert images[0].info["mask"] == "same"
    assert [image.info["mask"] for image in generator([picture, array], progress=False)] == ["mask-0001", "mask-0002"]


def test_masks_of_any_size_are_resized_and_that_is_said(drawn, generator, capsys):
    path = sorted(drawn.iterdir())[0]
    large = np.asarray(Image.open(path)).repeat(3, 0).repeat(3, 1)
    small, again = generator([np.asarray(Image.open(path)), large], ids=["a", "b"], progress=False)
    said = capsys.readouterr().err
    assert said == "1 of 2 masks were resized to 32x32 px by nearest neighbour, from 96x96\n"
    assert small.size == again.size == (32, 32)
    given = generator.read([large, large[:, :60]], ["a", "b"], {"fit": "letterbox"})
    assert "1 that are no squares were framed" in capsys.readouterr().err
    assert np.array_equal(given[0].labels, (np.asarray(Image.open(path)) > 0).astype(np.uint8))
    assert given[1].pair.box == "6 0 20 32"


@pytest.mark.heavy
def test_an_interrupted_command_goes_on_and_ends_with_the_same_bytes(drawn, generator, tmp_path, capsys):
    generator.write(drawn, tmp_path / "whole")
    sampler, original = generator.sampler, []

    def stops_at_the_second_batch(requests):
        original.append([request.id for request in requests])
        if len(original) == 2:
            raise KeyboardInterrupt
        return sampler.sample(requests)

    broken = Generator(generator.found, sampler._replace(sample=stops_at_the_second_batch))
    with pytest.raises(KeyboardInterrupt):
        broken.write(drawn, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    broken.write(drawn, tmp_path / "made")
    assert "going on: 2 of 5 images are there" in capsys.readouterr().err
    assert original[2] == original[1] != original[0]
    assert sha256_tree(tmp_path / "made") == sha256_tree(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "made", "whole"]


def test_a_folder_that_is_there_stays_as_it_is(drawn, generator, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="made is there already and stays as it is: name another folder, or remove it"):
        generator.write(drawn, tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["notes.txt"]


def test_all_faults_of_a_folder_are_named_at_once_and_nothing_is_left(drawn, generator, tmp_path):
    names = sorted(path.name for path in drawn.iterdir())
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(drawn / "photo.png")
    Image.fromarray((np.eye(32) * 60000).astype(np.uint16)).save(drawn / "deep.png")
    (drawn / "broken.png").write_bytes((drawn / names[0]).read_bytes()[:60])
    shutil.copy(drawn / names[1], drawn / names[1].replace(".png", ".PNG"))
    dot = np.zeros((320, 320), np.uint8)
    dot[4:8, 4:8] = 255
    Image.fromarray(dot).save(drawn / "tiny.png")
    with pytest.raises(UserError) as error:
        generator.write(drawn, tmp_path / "made")
    said = str(error.value)
    for part in (
        "photo.png: is a photo",
        "deep.png: has more than 8 bits",
        "broken.png: is damaged",
        f"would have one id, {names[1][:-4]}: rename one",
        "tiny.png: its lesion is gone at 32x32 px",
        "5 problems",
    ):
        assert part in said, part  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn"]


def test_masks_are_judged_as_a_whole(drawn, generator):
    folder = drawn.with_name("inverted")
    folder.mkdir()
    for path in drawn.iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(folder / path.name)
    with pytest.raises(UserError, match="as if black and white were exchanged"):
        generator.read(folder)
    turned = generator.read(folder, reading={"inverted_masks": True})
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(turned, generator.read(drawn), strict=True))
    with pytest.raises(UserError, match="no mask of 2 has a lesion"):
        generator.read([np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool)])
    with pytest.raises(UserError, match="holds no masks"):
        generator.read(drawn.parent)
    with pytest.raises(UserError, match="keys are those of a data-set row"):
        generator.read(drawn, reading={"threshold": 0})
    with pytest.raises(UserError, match="is an array of shape"):
        generator.read([np.ones((2, 32, 32), bool)])


def test_masks_without_a_lesion_and_manifests_of_others_are_told(drawn, generator, capsys):
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(drawn / "void.png")
    generator.read(drawn)
    assert "1 of 6 masks have no lesion: void" in capsys.readouterr().err
    (drawn / "manifest.csv").write_text("file;label\nvoid.png;0\n")
    with pytest.raises(UserError, match="where its pictures are plain masks, move it"):
        generator.read(drawn)


def test_training_pairs_are_the_parents_of_their_own_masks(project, generator, tmp_path):
    train = project / "data/processed/phantom/train"
    assert all(mask.pair.parent == mask.pair.id for mask in generator.read(train))
    copy = shutil.copytree(train, tmp_path / "train")
    assert not any(mask.pair.parent for mask in generator.read(copy))


def test_what_is_no_mask_of_the_folder_itself_is_named(drawn, generator, capsys):
    (drawn / "more").mkdir()
    shutil.copy(next(drawn.glob("*.png")), drawn / "more/x.png")
    (drawn / "volume.nii.gz").write_bytes(b"x")
    (drawn / "notes.txt").write_text("drawn by hand")
    assert len(generator.read(drawn)) == 5
    said = capsys.readouterr().err
    assert "more/x.png: lies in a folder below" in said
    assert "volume.nii.gz: is not read" in said
    assert "notes" not in said


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"mask_treshold": 0}, "mask_treshold: unknown key (did you mean 'mask_threshold'?)"),
        ({"mask_threshold": "half"}, "mask_threshold: must be a valid integer, got 'half'"),
        ({"classes": {"lesion": 1}, "inverted_masks": True}, "inverted_masks: classes say by their values"),
        ({"classes": {"lesion": 0}}, "classes: each needs a value of its own"),
    ],
)
def test_how_masks_are_read_is_judged_as_a_row_is(generator, drawn, reading, words):
    with pytest.raises(UserError) as error:
        generator.read(drawn, reading=reading)
    assert words in str(error.value)
