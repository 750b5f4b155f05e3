"""What the Hugging Face Hub reads of our cards, by its own client, and the calls that put a folder there."""

import ast
import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, HfApi, ModelCard
from huggingface_hub.utils import validate_repo_id
from ruamel.yaml import YAML

from data.exports.formats import Options, export
from evaluation.cards.cards import render_cards
from evaluation.cards.diffusers_card import render_diffusers_card
from tests.data.exports.export_sets import by_hand, real_row
from tests.evaluation.cards.test_cards import EMPTY
from tests.evaluation.cards.test_cards import FACTS as SET
from tests.evaluation.cards.test_diffusers_card import FACTS

HERE = replace(FACTS, base={"kind": "pretrain", "name": "pretrained here", "sha256": "b" * 64}, base_on_hub=False)
TERMS = (None, "CC BY-NC 4.0", "CC0 1.0", "for research, ask: somebody")
LICENCES = {"apache-2.0", "cc-by-nc-4.0", "cc0-1.0", "other"}  # of those that the Hub knows
START = Path(__file__).parents[3] / "docs/start.md"


def checked(card, text):
    """Return the front matter as the client reads it, after what the Hub checks of it."""
    data = card(text).data.to_dict()
    assert data == YAML(typ="safe").load(text.split("---\n")[1])
    assert data["license"] in LICENCES
    assert ("license_name" in data) == (data["license"] == "other")
    assert re.fullmatch(r"[a-z0-9.-]+", data.get("license_name", "x"))
    assert all(isinstance(tag, str) and tag for tag in data["tags"])
    if "base_model" in data:
        validate_repo_id(data["base_model"])
    return data


@pytest.mark.parametrize("licence", TERMS)
def test_front_matter_is_read_as_it_was_meant(licence):
    for facts in (FACTS, HERE, replace(HERE, drawn=True)):
        head = checked(ModelCard, render_diffusers_card(replace(facts, licence=licence, page="https://a.example/b")))
        assert (head["library_name"], head["pipeline_tag"]) == ("diffusers", "image-to-image")
    cards = render_cards(replace(SET, licence=licence), EMPTY)
    checked(ModelCard, cards["MODEL_CARD.md"])
    assert checked(DatasetCard, cards["DATASET_CARD.md"])["task_categories"] == ["image-segmentation"]


def test_an_image_folder_is_a_data_set_of_the_hub(tmp_path):
    real = {name: by_hand(tmp_path / name, name, [real_row("1"), real_row("2")]) for name in ("train", "cvc-300")}
    export("imagefolder", real, [], tmp_path / "out", Options(name="mine"))
    card = DatasetCard.load(tmp_path / "out/README.md")
    files = [(row["split"], row["path"]) for row in card.data.to_dict()["configs"][0]["data_files"]]
    assert files == [("train", "train/**"), ("test_cvc_300", "test_cvc_300/**")]
    assert card.data.task_categories == ["image-segmentation"]
    assert "hf upload YOU/NAME . --repo-type dataset" in card.text


def test_the_lines_of_the_documentation_are_calls_that_the_client_has():
    code = re.search(r"```python\n(from huggingface_hub.*?)```", START.read_text(encoding="utf-8"), re.DOTALL)[1]
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    methods = [node for node in calls if isinstance(node.func, ast.Attribute)]
    assert [node.func.attr for node in methods] == ["create_repo", "upload_folder"]
    for node in methods:
        keywords = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
        inspect.signature(getattr(HfApi, node.func.attr)).bind("self", *map(ast.literal_eval, node.args), **keywords)
