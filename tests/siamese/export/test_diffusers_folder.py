"""A generator exported for diffusers draws our images there, from the folder alone, by the lines on its card."""

import ast
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image
from ruamel.yaml import YAML

from data.pairs.errors import UserError
from pipeline.commands.export_diffusers import export_generator
from siamese.config.sections import NEEDS
from siamese.export.diffusers_folder import METHODS, check_method, not_in_diffusers
from siamese.load import load
from siamese.sampling.requests import Request
from tests.contracts.imports import ROOT
from tests.siamese.conftest import ROWS, SAMPLING, SIAMESE

PROMPT = "a polyp"
BASE = Path("outputs/base/phantom")
SAMPLED = {
    "siamese": {"spacing": "trailing", "eta": 1.0},
    "controlnet": {"solver": "dpm++", "encoder_every": 2, "steps": 2},
}


def trained(name: str) -> Path:
    return Path(f"outputs/generators/phantom/{name}-g0")


def write_params(prompt: str = PROMPT, **sampling) -> None:
    params = YAML().load(ROOT / "params.yaml")
    params["datasets"]["phantom"].update(prompt=prompt, size_px=32)
    params["sampling"] = {**SAMPLING.model_dump(), **sampling}
    YAML().dump(params, Path("params.yaml"))


@pytest.fixture(scope="module")
def project(tmp_path_factory, generators, base_dir) -> Path:
    """Return a project of two trained toys, with the export of each under its name."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        shutil.copytree(base_dir, BASE)
        for name, sampling in SAMPLED.items():
            shutil.copytree(generators[name], trained(name))
            write_params(**sampling)
            export_generator(trained(name), Path(name))
    return root


@pytest.mark.heavy
@pytest.mark.parametrize("name", SAMPLED)
def test_the_lines_on_the_card_draw_our_image(project, monkeypatch, name):
    code = re.search(r"```python\n(.*?)```", (project / name / "README.md").read_text(), re.DOTALL).group(1)
    monkeypatch.chdir(project / name)
    exec(compile(code, "README.md", "exec"), {})
    drawn = np.asarray(Image.open("image.png")).astype(int)
    monkeypatch.chdir(project)
    options = {key: value for key, value in SAMPLED[name].items() if key != "encoder_every"}
    sampler = load(trained(name), BASE, SAMPLING.model_copy(update=options))
    lesion = (np.asarray(Image.open(f"{name}/mask.png")) > 127).astype(np.uint8)
    expected = next(sampler.sample([Request("x", lesion, 0)])).astype(int)
    assert expected.std() > 1
    assert np.abs(drawn - expected).max() <= 1


def test_the_scheduler_is_saved_as_the_sampler_uses_it_not_as_the_base_has_it(project):
    settings = {
        folder: json.loads((project / folder / "scheduler/scheduler_config.json").read_text())
        for folder in (*SAMPLED, BASE)
    }
    assert settings["siamese"]["_class_name"] == "DDIMScheduler"
    assert settings["siamese"]["timestep_spacing"] == "trailing" != settings[BASE]["timestep_spacing"]
    assert settings["controlnet"]["_class_name"] == "DPMSolverMultistepScheduler"


def test_a_plain_controlnet_loads_whole(project):
    _, report = ControlNetModel.from_pretrained(project / "controlnet/controlnet", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_a_dense_hint_is_never_left_out_silently(project):
    with pytest.raises(ValueError, match="trust_remote_code"):
        StableDiffusionControlNetPipeline.from_pretrained(project / "siamese")
    network = ControlNetModel.from_pretrained(project / "siamese/controlnet")
    with pytest.raises(NotImplementedError, match="meta"):
        network.to("cpu", torch.float16)


def test_the_code_that_goes_along_needs_torch_and_diffusers_alone(project):
    nodes = list(ast.walk(ast.parse((project / "siamese/controlnet/dense_hint.py").read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in names} == {"torch", "diffusers", "collections", "functools"}


def test_the_card_has_what_the_hub_reads_and_the_terms(project):
    for name in SAMPLED:
        card = (project / name / "README.md").read_text()
        front = YAML(typ="safe").load(card.split("---\n")[1])
        assert front["library_name"] == "diffusers"
        assert front["license"] == "apache-2.0"  # drawn by code, and so is what the base was trained on
        assert {"controlnet", name} <= set(front["tags"])
        assert "hf upload" in card
        assert str(project) not in card
        assert ("encoder_every: 2" in card) == ("trust_remote_code" not in card) == (name == "controlnet")


@pytest.mark.parametrize("method", NEEDS)
def test_other_methods_are_refused_by_name(method, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"generator": {"method": method}}))
    if method in METHODS:
        check_method(tmp_path)
    else:
        with pytest.raises(UserError, match=method):
            check_method(tmp_path)


def test_options_that_diffusers_lacks_are_those_that_change_images():
    assert not_in_diffusers(SIAMESE, SAMPLING) == {}
    assert not_in_diffusers(SIAMESE.model_copy(update={"mask_guidance": 1.7}), SAMPLING) == {"mask_guidance": 1.7}
    assert not_in_diffusers(SIAMESE, SAMPLING.model_copy(update={"strength": 0.2})) == {"strength": 0.2}
    asked = SAMPLING.model_copy(update={"guided_from": 0.5, "mask_guidance": 2.0})
    assert not_in_diffusers(ROWS["controlnet"], asked) == {"mask_guidance": 2.0, "guided_from": 0.5}
    assert not_in_diffusers(SIAMESE, asked.model_copy(update={"guidance": 1.0, "mask_guidance": 1.0})) == {}


def test_nothing_is_left_where_it_cannot_be_exported(project, monkeypatch):
    monkeypatch.chdir(project)
    before = sorted(path.name for path in project.iterdir())
    write_params("a mole")
    with pytest.raises(UserError, match="not trained with the prompt 'a mole'"):
        export_generator(trained("siamese"), Path("out"))
    with pytest.raises(UserError, match="no trained generator"):
        export_generator(trained("none"), Path("out"))
    with pytest.raises(UserError, match="name another folder"):
        export_generator(trained("siamese"), Path("controlnet"))
    assert sorted(path.name for path in project.iterdir()) == before
    shutil.copytree(trained("siamese"), "elsewhere")
    with pytest.raises(UserError, match="no generator of this project"):
        export_generator(Path("elsewhere"), Path("out"))
    assert not Path("out").exists()
