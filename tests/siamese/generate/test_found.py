"""A generator is found with all that it needs by its folder, or what lacks is said with where it was looked for."""

import json
import shutil

import pytest

from data.pairs.errors import UserError
from siamese.config.sections import NEEDS, Needs
from siamese.found import find_generator, refuse_for_given_masks
from tests.siamese.generate.conftest import GENERATOR, config_without


@pytest.fixture
def alone(project, tmp_path):
    """Return a copy of the generator outside any project."""
    shutil.copytree(project / GENERATOR, tmp_path / "sent/controlnet-g3")
    return tmp_path / "sent/controlnet-g3"


def test_the_folder_says_base_size_classes_seed_and_sampling(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_generator(project / GENERATOR)
    assert found.base_dir == project / "outputs/base/phantom"
    assert (found.size_px, found.classes, found.training_seed) == (32, ("lesion",), 3)
    assert (found.sampling.steps, found.sampling.spacing) == (2, "trailing")
    assert found.sampling_from == str(project / "params.yaml")
    assert find_generator(project / GENERATOR, steps=7, guidance=3.0).sampling.steps == 7


def test_one_of_an_older_version_takes_the_size_from_its_training_pairs(project, tmp_path):
    shutil.copytree(project, tmp_path / "project")
    config_without(tmp_path / "project" / GENERATOR, "size_px", "classes")
    found = find_generator(tmp_path / "project" / GENERATOR)
    assert (found.size_px, found.classes) == (32, ("lesion",))


def test_all_that_lacks_is_said_at_once(alone):
    config_without(alone, "size_px")
    with pytest.raises(UserError, match="is not all that this generator needs; it lacks") as error:
        find_generator(alone)
    base, size = error.value.problems
    assert str(alone / "base") in base
    assert "(base)" in base
    assert size.startswith("the size of its images")


def test_a_base_beside_it_or_named_is_taken_and_another_one_is_not(alone, project, tmp_path):
    base = project / "outputs/base/phantom"
    found = find_generator(alone, base)
    assert (found.base_dir, found.sampling_from, found.sampling.steps) == (base, "the paper", 50)
    shutil.copytree(base, alone / "base")
    assert find_generator(alone).base_dir == alone / "base"
    text = (base / "base.json").read_text()
    (alone / "base/base.json").write_text(text.replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(UserError, match="holds 0"):
        find_generator(alone)


def test_a_setting_that_there_is_not_is_refused_with_those_that_there_are(project):
    with pytest.raises(UserError, match="how to sample is not clear") as error:
        find_generator(project / GENERATOR, step=3)
    assert error.value.problems[0].startswith("step: ")
    assert error.value.problems[1].startswith("settings are steps, guidance")
    with pytest.raises(UserError, match="steps: "):
        find_generator(project / GENERATOR, steps=0)


def test_methods_that_take_no_mask_are_refused_by_name_with_the_reason(project):
    with pytest.raises(UserError, match="method controlnet_image makes no images for given masks: it needs the real"):
        find_generator(project / GENERATOR.with_name("parents-g0"))
    for method in ("controlnet_image", "dfmgan", "singan_seg"):
        with pytest.raises(UserError, match=f"of the method {method} makes no images for given masks"):
            refuse_for_given_masks(method, NEEDS[method])
    for method in ("controlnet", "siamese", "t2i_adapter", "adc", "arsdm", "anomaly_diffusion"):
        refuse_for_given_masks(method, NEEDS[method])
    with pytest.raises(UserError, match="makes a mask of its own"):
        refuse_for_given_masks("dfmgan", Needs(emits_masks=True))


def test_a_folder_that_holds_no_generator_is_named_with_those_below_it(project):
    with pytest.raises(UserError, match="below it lie controlnet-g3, parents-g0: name one of these"):
        find_generator(project / GENERATOR.parent)
    with pytest.raises(UserError, match="it lacks 'generator'"):
        find_generator(project / "outputs/base/phantom/vae")
    with pytest.raises(UserError, match="seed belongs to the images"):
        find_generator(project / GENERATOR, seed=1)
    with pytest.raises(UserError, match="strength cannot be set: masks that are given come without an image"):
        find_generator(project / GENERATOR, strength=0.3)


def test_a_mask_guidance_of_its_own_is_never_passed_over(project, tmp_path):
    shutil.copytree(project, tmp_path / "project")
    path = tmp_path / "project" / GENERATOR
    config = json.loads((path / "config.json").read_text())
    config["generator"]["mask_guidance"] = 1.5
    (path / "config.json").write_text(json.dumps(config))
    assert find_generator(path, mask_guidance=1.5)
    with pytest.raises(UserError, match=r"mask_guidance cannot be set: the generator has its own, 1\.5"):
        find_generator(path, mask_guidance=2.0)


@pytest.mark.parametrize(
    "change",
    [{"size_px": "32"}, {"size_px": 0}, {"classes": []}, {"classes": "lesion"}, {"training": None}, {"base": 7},
     {"generator": {}}, {"generator": None}],
)  # fmt: skip
def test_a_configuration_that_somebody_has_edited_is_refused(alone, change):
    config = json.loads((alone / "config.json").read_text())
    (alone / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=r"config\.json is not that of a generator|holds a damaged generator"):
        find_generator(alone)


@pytest.mark.parametrize("text", ["sampling: 3\n", "- 1\n", "", "sampling:\n", "steps: ["])
def test_params_that_say_nothing_of_sampling_any_more_are_not_passed_over(project, tmp_path, text):
    shutil.copytree(project, tmp_path / "project")
    (tmp_path / "project/params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml(: not readable as YAML| is no params\.yaml)"):
        find_generator(tmp_path / "project" / GENERATOR)


def test_a_configuration_of_brackets_is_a_sentence(alone):
    (alone / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="holds a damaged generator"):
        find_generator(alone)
