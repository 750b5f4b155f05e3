"""params.yaml: one strict schema, every problem on its own line, exit code 2."""

import copy
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from data.pairs.errors import UserError
from data.prepare.normal_config import Normal
from pipeline.params import checks
from pipeline.params.read import load_params, read_params
from siamese.config.sections import Needs, SamplingConfig, TrainingConfig
from tests.contracts.imports import ROOT

YAML_SAFE = YAML(typ="safe")
SHIPPED = YAML_SAFE.load(ROOT / "params.yaml")


def problems_of(tmp_path, data) -> list[str]:
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML().dump(data, file)
    try:
        read_params(path)
    except UserError as error:
        return list(error.problems)
    return []


@pytest.fixture
def shipped():
    return copy.copy(YAML_SAFE.load(ROOT / "params.yaml"))


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("[!_]*.yaml"))], ids=lambda path: path.name
)
def test_shipped_files_are_valid(path):
    read_params(path)


def test_five_mistakes_print_five_lines_and_exit_2(tmp_path, shipped):
    shipped["training"]["precison"] = "bf16"
    shipped["training"]["steps"] = 0
    del shipped["datasets"]["phantom"]["size_px"]
    shipped["generators"]["siamese"]["hint"] = "dih"
    shipped["architectures"]["unet"]["lr"] = "fast"
    with (tmp_path / "bad.yaml").open("w") as file:
        YAML().dump(shipped, file)
    command = [sys.executable, "-m", "pipeline", "params", "--file", str(tmp_path / "bad.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    title, *lines = done.stderr.splitlines()
    assert title.endswith("bad.yaml: 5 problems")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(lines) == 5
    text = done.stderr
    assert "training.precison: unknown key" in text
    assert "training.steps: must be greater than or equal to 1, got 0" in text
    assert "datasets.phantom.size_px: missing" in text
    assert "generators.siamese.hint: must be one of hi, dhi; got 'dih'" in text
    assert "architectures.unet.lr: must be a valid number, got 'fast'" in text


def test_dangling_names_stand_beside_mistakes_of_other_kinds(tmp_path, shipped):
    shipped["training"]["stepz"] = 1
    shipped["comparison"]["datasets"] = ["phantim"]
    found = problems_of(tmp_path, shipped)
    assert len(found) == 2, found
    assert found[0].startswith("training.stepz: unknown key (did you mean 'steps'?)")
    assert found[1].startswith("comparison.datasets: there is no 'phantim' (did you mean 'phantom'?)")


@pytest.mark.parametrize("text", ["", "[1, 2]", "training:", "a: 1\na: 2", "? [a, b]\n: 1", "a: &x [*x]", "a: \x00"])
def test_odd_files_are_user_errors(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError):
        read_params(tmp_path / "params.yaml")


def test_names_without_rows_are_reported_together_with_the_nearest(tmp_path, shipped):
    shipped["comparison"]["generators"] = ["siamees", "controlnet"]
    shipped["comparison"]["datasets"] = ["phantom", "phantom"]
    assert problems_of(tmp_path, shipped) == [
        "comparison.datasets: phantom stands twice",
        "comparison.generators: there is no 'siamees' (did you mean 'siamese'?); allowed: controlnet, siamese",
    ]


def test_volume_must_build_on_the_comparison(tmp_path, shipped):
    shipped["comparison"]["generators"] = ["controlnet"]
    shipped["volume"]["multiples"] = [9]
    found = problems_of(tmp_path, shipped)
    assert len(found) == 3
    assert found[0].startswith("volume.generators: siamese must be in comparison.generators")
    assert found[1].startswith("filtered.generators: siamese must be in comparison.generators")
    assert found[2].startswith("masks.random.copies: must be at least 9")


@pytest.mark.parametrize(
    ("change", "start"),
    [
        (
            lambda p: p["generators"]["siamese"].update(hint_widths=[8, 16, 32]),
            "generators.siamese.hint_widths: must be 4",
        ),
        (lambda p: p["datasets"]["phantom"].update(kind="phantm"), "datasets.phantom: must be one of phantom, folder"),
        (lambda p: p["datasets"].update({"my.data": p["datasets"]["phantom"]}), "datasets.my.data: 'my.data' is not"),
        (
            lambda p: p["masks"]["random"].update(transforms=[{"name": "scale", "factor": [2.0, 0.5]}]),
            "masks.random.transforms[0]: factor must be [low, high]",
        ),
        (
            lambda p: p["masks"]["random"].update(transforms=[{"name": "scale", "factor": [0.5]}]),
            "masks.random.transforms[0].factor",
        ),
        (
            lambda p: p["masks"]["random"].update(transforms=[{"name": "flop"}]),
            "masks.random.transforms[0]: must be one of flip, scale, rotate, shift, elastic, swap; got 'flop'",
        ),
        (
            lambda p: p["masks"]["random"]["constraints"].update(aera=1),
            "masks.random.constraints.aera: unknown key (did",
        ),
        (
            lambda p: p.update(downloads={"a": {"page": "x", "licence": "y", "archives": [{"name": "../a.zip"}]}}),
            "downloads.a.archives[0].name",
        ),
        (lambda p: p["comparison"].update(seeds=["0"]), "comparison.seeds[0]: must be a valid integer, got '0'"),
        (lambda p: p["generators"].update(real=p["generators"]["siamese"]), "generators.real: the name is taken"),
        (lambda p: p["comparison"].update(baselines=["classik"]), "comparison.baselines: there is no 'cl"),
        (
            lambda p: p["comparison"].update(baselines=["real"]),
            "comparison.baselines: real is what sets are compared with: it belongs into comparison.references",
        ),
        (
            lambda p: (
                p["baselines"].update(pasted={"kind": "cut_paste"}),
                p["comparison"].update(references=["pasted"]),
            ),
            "comparison.references: pasted makes pairs of its own: it belongs into comparison.baselines",
        ),
        (lambda p: p["comparison"].update(references=["rael"]), "comparison.references: there is no 'rael' (did you"),
        (lambda p: p["baselines"].update(real={"kind": "duplicate"}), "baselines.real: rows named real and duplicate"),
        (
            lambda p: p["baselines"].update(a={"kind": "augment", "transforms": [{"name": "swap"}]}),
            "baselines.a.transforms[0]: must be one of flip, scale, rotate, shift, elastic, brightness_contrast",
        ),
        (lambda p: p["sampling"].update(guidance=float("inf")), "sampling.guidance: must be"),
        (lambda p: p["volume"].update(multiples=[]), "volume.multiples: is empty although"),
        (lambda p: p["volume"].update(multiples=[0]), "volume.multiples[0]: must be greater than or equal to 1"),
        (
            lambda p: p["volume"].update(multiples=[1, 2]),
            "volume.multiples: 1x with the masks random is in the comparison already: take 1 out of volume.multiples",
        ),
        (lambda p: p["filtered"].update(masks=["more"]), "filtered.masks: there is no 'more'"),
        (lambda p: p.update(base={"kind": "diffusers"}), "base.model: missing"),
    ],
)
def test_a_mistake_has_one_line_at_its_place(tmp_path, shipped, change, start):
    change(shipped)
    found = problems_of(tmp_path, shipped)
    assert len(found) == 1, found
    assert found[0].startswith(start), found


def test_split_of_the_wrong_type_is_one_problem(tmp_path, shipped):
    shipped["datasets"]["mine"] = {
        "kind": "folder", "path": "x", "size_px": 64, "prompt": "", "splits": {"train": 0.5, "test": -1.0},
    }  # fmt: skip
    found = problems_of(tmp_path, shipped)
    assert len(found) == 1, found
    assert found[0].startswith("datasets.mine.splits.test")


SECTIONS = {"training": TrainingConfig, "sampling": SamplingConfig}
KEYS = [(section, key) for section in SECTIONS for key in SHIPPED[section]]


@pytest.mark.heavy
@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from(KEYS), min_size=1, max_size=4))
def test_every_renamed_key_is_mentioned(tmp_path_factory, chosen):
    data = YAML_SAFE.load(ROOT / "params.yaml")
    for section, key in chosen:
        data[section][f"{key}_"] = data[section].pop(key)
    found = problems_of(tmp_path_factory.mktemp("params"), data)
    for section, key in chosen:
        assert any(line.startswith(f"{section}.{key}_: unknown key (did you mean '{key}'?)") for line in found)
        needed = SECTIONS[section].model_fields[key].is_required()
        assert (f"{section}.{key}: missing" in found) is needed


@pytest.mark.parametrize(
    ("section", "name", "text"),
    [
        ("masks", "my-masks", "use small letters, digits and _, a letter or digit first, such as 'my_masks'"),
        ("datasets", "My Data", "use small letters, digits, _ and -, a letter or digit first, such as 'my_data'"),
        ("generators", "été", "use small letters, digits, _ and -, a letter or digit first, such as 't'"),
        ("filters", "-x", "use small letters, digits, _ and -, a letter or digit first, such as 'x'"),
    ],
)
def test_a_name_that_may_not_be_says_what_may_be_for_its_key(section, name, text, tmp_path, shipped):
    shipped[section][name] = next(iter(shipped[section].values()))
    found = problems_of(tmp_path, shipped)
    assert found == [f"{section}.{name}: {name!r} is not allowed as a name here: {text}"]


def test_the_extractor_of_before_is_refused_with_the_new_line(tmp_path, shipped):
    shipped["scores"]["extractors"] = ["demo"]
    shipped["features"]["seeds"] = [0]
    assert problems_of(tmp_path, shipped) == [
        "features.seeds: unknown key; allowed: batch, max_unpaired_pairs, weights_dir",
        "scores.extractors[0]: demo, the scores of random features, is no more: write `extractors: [lite0]`",
    ]


def test_names_of_splits_and_classes_have_rules_of_their_own(tmp_path, shipped):
    base = {"kind": "folder", "path": "x", "size_px": 64, "prompt": ""}
    shipped["datasets"]["mine"] = {**base, "splits": {"train": 0.5, "my test": 0.5}, "classes": {"a/b": 1}}
    found = "\n".join(problems_of(tmp_path, shipped))
    assert "'my test' is not allowed as a name here: use letters, digits, _ and -, a letter or digit first" in found
    assert "'a/b' is not allowed as a name here: use letters, digits, _, spaces and -, a letter" in found


def test_a_block_that_is_pasted_at_the_end_is_to_be_merged(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    first = text.splitlines().index("datasets:") + 1
    second = len(text.splitlines()) + 1
    path = tmp_path / "params.yaml"
    path.write_text(text + "datasets:\n  mine:\n    kind: folder\n")
    with pytest.raises(UserError, match="a key stands twice") as caught:
        read_params(path)
    assert caught.value.problems == (
        f"datasets stands twice, in line {first} and in line {second}: put what stands below the second under the "
        "first, and remove the second line `datasets:`",
    )
    path.write_text(text.replace("  phantom:  ", "  phantom: {kind: phantom}\n  phantom:  ", 1))
    with pytest.raises(UserError) as caught:
        read_params(path)
    assert caught.value.problems == (
        f"phantom stands twice, in line {first + 1} and in line {first + 2}: rename or remove one of the two",
    )


@pytest.mark.heavy
def test_problems_come_in_the_same_order_whatever_the_hashes(tmp_path, shipped):
    for name in ("beta", "alpha", "gamma"):
        shipped["datasets"][name] = shipped["datasets"]["phantom"]
    names = ["beta", "alpha", "gamma"]
    shipped["comparison"]["datasets"] = ["phantom"]
    shipped["volume"] |= {"datasets": names}
    shipped["filtered"]["datasets"] = []
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(shipped, file)
    command = [sys.executable, "-m", "pipeline", "params", "--file", str(tmp_path / "params.yaml")]
    shown = {
        subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stderr
        for seed in "123"
    }
    assert len(shown) == 1
    assert [line.split()[1] for line in shown.pop().splitlines() if "must be in comparison.datasets" in line] == names


def test_a_block_without_data_sets_is_switched_off(tmp_path, shipped):
    shipped["comparison"]["generators"] = ["controlnet"]
    shipped["volume"]["datasets"] = shipped["filtered"]["datasets"] = []
    assert problems_of(tmp_path, shipped) == []


def test_seeds_of_generators_are_those_that_train_them(tmp_path, shipped):
    shipped["volume"]["generator_seeds"] = [0, 2]
    shipped["baselines"]["pasted-g1"] = {"kind": "cut_paste"}
    assert problems_of(tmp_path, shipped) == [
        "volume.generator_seeds: 2 must be in comparison.generator_seeds too, where its 1x runs are",
        "baselines.pasted-g1: a name that ends so is that of a generator and its training seed: rename it",
    ]
    del shipped["baselines"]["pasted-g1"]
    shipped["comparison"]["generator_seeds"] = shipped["volume"]["generator_seeds"] = []
    shipped["filtered"] |= {"datasets": [], "generator_seeds": [0, 0]}
    assert problems_of(tmp_path, shipped) == ["filtered.generator_seeds: 0 stands twice"]
    shipped["filtered"]["generator_seeds"] = []
    assert problems_of(tmp_path, shipped) == [
        f"{name}.generator_seeds: is empty although generators are named: give some, such as [0]"
        for name in ("comparison", "volume")
    ]


def test_masks_of_one_generator_stand_in_the_volume_at_1x(tmp_path, shipped):
    shipped["comparison"]["masks"] = ["real"]
    shipped["filtered"]["masks"] = ["real"]
    shipped["volume"]["multiples"] = [1, 2]
    assert problems_of(tmp_path, shipped) == []
    shipped["filtered"]["masks"] = ["random"]
    assert problems_of(tmp_path, shipped) == [
        "filtered.masks: random must be in comparison.masks too, where its 1x runs are"
    ]


def test_a_method_that_sees_the_real_image_takes_no_masks_that_moved(tmp_path, shipped):
    shipped["generators"]["image"] = {"method": "controlnet_image", "hint": "hi", "hint_widths": [8, 16, 32]}
    shipped["comparison"]["generators"] += ["image"]
    shipped["volume"] |= {"generators": ["image"]}
    found = problems_of(tmp_path, shipped)
    assert [line.split(":")[0] for line in found] == ["comparison.generators", "volume.generators"]
    assert all("must all be of kind real, got random" in line for line in found)


def test_broken_yaml_and_missing_files_are_user_errors(tmp_path):
    (tmp_path / "params.yaml").write_text("a: [1\nb: {")
    with pytest.raises(UserError, match="not readable as YAML"):
        read_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="no such file"):
        read_params(tmp_path / "nothing.yaml")


def test_a_stage_sees_only_what_it_declares():
    params = load_params({"row": "datasets.{dataset}"}, {"dataset": "phantom"}, ROOT / "params.yaml")
    assert vars(params).keys() == {"row"}
    with pytest.raises(UserError, match="--dataset: there is no 'nothing'"):
        load_params({"row": "datasets.{dataset}"}, {"dataset": "nothing"}, ROOT / "params.yaml")


EMITTING = {"method": "singan_seg", "min_size": 16, "max_size": 32}


def test_a_generator_that_makes_its_own_masks_refuses_moved_ones(tmp_path, shipped):
    shipped["generators"]["own"] = EMITTING
    shipped["comparison"]["generators"] = ["controlnet", "siamese", "own"]
    (problem,) = problems_of(tmp_path, shipped)
    assert "comparison.generators: own makes its own masks, so comparison.masks must all be of kind real" in problem
    shipped["comparison"]["masks"] = ["real"]
    shipped["volume"]["datasets"] = shipped["filtered"]["datasets"] = []
    assert problems_of(tmp_path, shipped) == []


def test_a_generator_that_does_not_fit_the_size_of_images_is_named(tmp_path, shipped):
    shipped["generators"] |= {"small": EMITTING | {"min_size": 40, "max_size": 80}, "gan": {"method": "dfmgan"}}
    shipped["datasets"]["phantom"]["normal"] = {"count": 4}
    shipped["comparison"] |= {"generators": ["small", "gan"], "masks": ["real"]}
    shipped["volume"]["datasets"] = shipped["filtered"]["datasets"] = []
    assert problems_of(tmp_path, shipped) == [
        "generators.small.min_size: must be at most 32, got 40, for the images of datasets.phantom",
        "generators.gan.residual_from: must be at most 32, got 64, for the images of datasets.phantom",
    ]


def test_a_generator_of_normal_images_names_both_keys(monkeypatch):
    params = read_params(ROOT / "params.yaml")
    monkeypatch.setitem(checks.NEEDS, "siamese", Needs(normal=True, emits_masks=True))
    (problem,) = checks._check_data(params)
    assert problem.startswith("datasets.phantom.normal: generators.siamese needs images without a lesion")
    row = params.datasets["phantom"].model_copy(update={"normal": Normal(count=4)})
    assert list(checks._check_data(params.model_copy(update={"datasets": {"phantom": row}}))) == []


def test_pseudo_masks_need_images_without_masks_and_one_class(tmp_path, shipped):
    shipped["generators"]["siamese"]["pseudo_masks"] = True
    (problem,) = problems_of(tmp_path, shipped)
    assert "datasets.phantom.unlabelled: generators.siamese takes images without masks" in problem
    (tmp_path / "clinic").mkdir(exist_ok=True)
    row = {"kind": "folder", "path": "clinic", "size_px": 64, "prompt": "p", "splits": {"train": "a", "test": "b"}}
    for block in ("comparison", "volume", "filtered"):
        shipped[block]["datasets"] = ["clinic"]
    shipped["datasets"]["clinic"] = row | {"unlabelled": "frames"}
    assert problems_of(tmp_path, shipped) == []
    shipped["generators"]["siamese"]["pseudo_masks"] = False
    shipped["baselines"]["images"], shipped["comparison"]["baselines"] = {"kind": "pseudo"}, ["images"]
    shipped["datasets"]["clinic"] = row | {"classes": {"a": 1, "b": 2}}
    for problem, key in zip(problems_of(tmp_path, shipped), ("unlabelled", "classes"), strict=True):
        assert f"datasets.clinic.{key}: baselines.images " in problem
