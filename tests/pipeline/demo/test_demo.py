"""What is behind the page, without a browser: the sentences of `generate`, its bytes, and what is seen of a pair."""

import base64
import http.client
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from data.given_masks.read import Wanted
from data.given_masks.sets import given_folder
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import PairSet
from pipeline.cli import main
from pipeline.demo.look import looks
from pipeline.demo.offers import find_offers, for_the_page
from pipeline.demo.pair import draw, read_form, save_mask
from pipeline.demo.server import PageServer
from segmentation.config.architectures import WEIGHTS, ArchitectureRow
from segmentation.training.train import train
from siamese import load_generator
from tests.siamese.generate.conftest import GENERATOR

NAME = "phantom/controlnet-g3"
JUDGE = ArchitectureRow(
    network="unet", encoder="tu-test_resnet", decoder_channels=(8, 8, 8), input_px=32, epochs=1, batch=5, lr=1e-3,
    weight_decay=0.0, schedule="constant", loss="bce_dice", budget="equal_epochs",
)  # fmt: skip


@pytest.fixture(scope="module")
def offers(project):
    return find_offers(project)


@pytest.fixture(scope="module")
def generator(project):
    return load_generator(project / GENERATOR)


def form(**values) -> bytes:
    files = {name: base64.b64encode(values.pop(name)).decode() for name in ("labels", "file") if name in values}
    return json.dumps({"generator": NAME, **values, **files}).encode()


def png(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def asked(server, method, path, body=b"", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.heavy
def test_a_file_of_another_size_becomes_what_generate_makes_of_it(page_server, project, tmp_path):
    (tmp_path / "masks").mkdir()
    grey = np.zeros((48, 96), np.uint8)
    grey[10:30, 30:60] = 200
    (tmp_path / "masks/polyp.png").write_bytes(png(grey))
    sent = {"seed": 2, "settings": {"steps": "3"}, "reading": "{fit: letterbox}", "name": "C:\\masks\\polyp.png"}
    body = form(file=(tmp_path / "masks/polyp.png").read_bytes(), **sent)
    status, answer = asked(page_server, "POST", "/pair", body, Content_Type="application/json")
    made = json.loads(answer)
    assert status == 200, made
    assert made["command"].split()[:4] == ["siamese-pairs", "generate", "--generator", str(GENERATOR)]
    options = ["--reading", "{fit: letterbox}", "--steps", "3", "--seed", "2", "--out", str(tmp_path / "made")]
    assert all(option in made["command"] for option in ("--seed 2", "--reading '{fit: letterbox}'", "--steps 3"))
    masks = ["--masks", str(tmp_path / "masks")]
    assert main(["generate", "--generator", str(project / GENERATOR), *masks, *options]) == 0
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(made["zip"]))) as archive:
        assert archive.namelist() == ["images/polyp.png", "manifest.csv", "masks/polyp.png"]
        archive.extractall(tmp_path / "downloaded")
    assert sha256_tree(tmp_path / "downloaded") == sha256_tree(tmp_path / "made")
    said = "1 of 1 masks were resized to 32x32 px by nearest neighbour, from 96x48; 1 that are no squares were framed"
    assert made["notes"] == [f"{said} by background"]
    assert made["file"] == "phantom-controlnet-g3-polyp-seed2.zip"
    assert made["image"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("drawn.png", png(np.zeros((32, 32), np.uint8))),
        ("photo.png", png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))),
        ("dim.png", png(np.eye(32, dtype=np.uint8) * 90)),
        ("broken.png", png(np.eye(32, dtype=np.uint8))[:60]),
        ("empty.png", b""),
        ("notes.txt", b"no picture"),
        ("tiny.png", png(np.pad(np.full((3, 3), 255, np.uint8), ((4, 500), (4, 500))))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mask_that_is_not_read_gets_the_sentences_of_generate(offers, generator, tmp_path, name, content):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / name).write_bytes(content)
    with pytest.raises(UserError) as of_generate:
        generator.read(tmp_path / "masks")
    (tmp_path / "page").mkdir()
    with pytest.raises(UserError) as of_page:
        draw(read_form(form(file=content, name=name)), offers, tmp_path / "page")
    as_shown = str(of_generate.value).replace(f"{tmp_path}/masks/", "").replace(f"{tmp_path}/masks", "the mask")
    assert str(of_page.value) == as_shown
    assert str(tmp_path) not in str(of_page.value)
    assert not (tmp_path / "page/made").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"labels": b"\1" * 7}, "the drawing is none of 32x32 px for lesion"),
        ({"labels": b"\2" * 1024}, "the drawing is none of 32x32 px for lesion"),
        ({"labels": b"\1" * 1024, "settings": {"guidance": "0.5"}}, "guidance: must be greater than or equal"),
        ({"labels": b"\1" * 1024, "settings": {"speed": "2"}}, "settings are steps, guidance"),
        ({"labels": b"\1" * 1024, "reading": "{threshold: 0}"}, "keys are those of a data-set row"),
        ({"labels": b"\1" * 1024, "seed": -1}, "seed: must be greater than or equal to 0"),
        ({"labels": b"\1" * 1024, "generator": "../x"}, "there is no generator ../x"),
    ],
)
def test_what_cannot_be_drawn_is_said(offers, tmp_path, values, said):
    with pytest.raises(UserError) as error:
        draw(read_form(form(**values)), offers, tmp_path)
    assert said in str(error.value)


def test_a_drawing_of_several_classes_is_read_as_it_was_drawn(offers, tmp_path):
    found = offers.found[NAME]._replace(classes=("polyp", "tool"))
    labels = np.zeros((32, 32), np.uint8)
    labels[4:12, 4:12], labels[18:28, 8:20] = 1, 2
    name = save_mask(read_form(form(labels=labels.tobytes())), found, tmp_path / "masks")
    ((given,), notes) = given_folder(tmp_path / "masks", Wanted(found.size_px, found.classes))
    assert (name, given.pair.id, notes) == ("drawn.png", "drawn", [])
    assert np.array_equal(given.labels, labels)


def test_generators_that_take_no_masks_are_refused_by_name(offers, project):
    page = for_the_page(offers)
    (shown,) = page["generators"]
    assert shown["name"] == NAME
    assert (shown["size_px"], shown["classes"], shown["greys"]) == (32, ("lesion",), [0, 255])
    assert {setting["name"]: setting["value"] for setting in shown["settings"]}["steps"] == "2"
    assert "it needs the real image" in page["refused"]["phantom/parents-g0"]


def test_a_project_without_generators_and_a_taken_port_end_the_command(
    page_server, project, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 2
    assert "holds no generator that makes images for given masks: dvc repro trains one" in capsys.readouterr().err
    monkeypatch.chdir(project)
    port = page_server.server_address[1]
    assert main(["demo", "--port", str(port)]) == 2
    assert f"no page at 127.0.0.1, port {port}: another program has it" in capsys.readouterr().err
    with pytest.raises(UserError, match="port 99999"):
        PageServer(project, "127.0.0.1", 99999)


def test_only_this_page_is_answered(page_server):
    status, body = asked(page_server, "GET", "/")
    assert (status, b"Draw a mask" in body) == (200, True)
    assert asked(page_server, "GET", "/../server.py")[0] == 404
    assert asked(page_server, "GET", "/", Host="elsewhere.example")[0] == 403
    assert asked(page_server, "POST", "/pair", form(), Content_Type="text/plain")[0] == 404
    too_large = {"Content_Type": "application/json", "Content_Length": str(10**9)}
    assert asked(page_server, "POST", "/pair", b"", **too_large)[0] == 413
    status, body = asked(page_server, "POST", "/pair", b"{", Content_Type="application/json")
    assert (status, json.loads(body)["title"]) == (400, "this cannot be drawn")


def test_a_copy_of_a_training_image_is_found(real, project):
    pair = real.pairs[2]
    found = looks(PairSet(real.folder, (pair,)), project, "phantom")
    assert found["nearest"].text.startswith(f"{pair.id} at a distance of 0.00")
    assert found["outlines"].picture.shape == (256, 256, 3)
    nothing = looks(PairSet(real.folder, (pair,)), project, "elsewhere")
    assert nothing["nearest"] == (None, nothing["nearest"].text)
    assert nothing["nearest"].text.startswith("The training images of elsewhere are not here")


@pytest.mark.heavy
def test_what_the_judge_finds_is_outlined_in_yellow(real, tmp_path):
    (pair,) = pairs = real.pairs[:1]
    folder = tmp_path / "outputs/judges/phantom"
    folder.mkdir(parents=True)
    train(real, PairSet(folder, ()), JUDGE, folder, seed=0, settings="judge")
    area = real.mask(pair).mean()
    weights = load_file(folder / WEIGHTS)
    (bias,) = (name for name, weight in weights.items() if name.endswith("head.0.bias") and weight.numel() == 1)
    for shift, text in ((100.0, f"Dice of {2 * area / (area + 1):.2f}"), (-200.0, "finds no lesion")):
        weights[bias] += shift
        save_file(weights, folder / WEIGHTS)
        found = looks(PairSet(real.folder, pairs), tmp_path, "phantom")["outlines"]
        assert text in found.text
        yellow = (found.picture == (255, 255, 0)).all(2).any()
        assert yellow == (shift > 0)
