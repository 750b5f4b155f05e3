"""Cards of synthetic sets: front matter, every score or its reason, terms, warnings, and the pipeline's facts."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from data.acquire.config import Download
from data.pairs.errors import UserError
from data.pairs.files import write_json
from data.pairs.image_io import write_image
from evaluation.cards.cards import CardFacts, render_cards, told_as
from evaluation.results.results import Scores, read_scores
from evaluation.scores.record import entry
from pipeline.params import paths
from pipeline.params.read import read_params
from pipeline.stages.report_cards import CARDS, base_of, card_facts, split_source, terms_of, write_all
from tests.data.exports.export_sets import phantom

ROOT = Path(__file__).parents[3]
PARAMS = read_params(ROOT / "params.yaml")
SHIPPED = read_scores(ROOT / "results")
VERSIONS = {"torch": "9.9"}
FACTS = CardFacts(
    dataset="clinic",
    dataset_row={"kind": "folder", "path": "data/raw/clinic", "prompt": "a | b"},
    real_pairs=31,
    source="siamese",
    generator="siamese",
    generator_row={"method": "siamese", "hint": "dhi"},
    generator_sha256="a" * 64,
    base={"kind": "pretrain", "name": "pretrained here", "sha256": "b" * 64},
    base_on_hub=False,
    training={"steps": 70},
    sampling={"steps": 20, "guidance": 2.0},
    masks="random",
    mask_row={"kind": "transformed", "transforms": [{"name": "scale", "factor": [0.7, 1.3]}]},
    pairs=999,
    multiples=(1, 3),
    versions=VERSIONS,
)
EMPTY = Scores("clinic", "siamese", "random", {})
NOT_MADE = "The copy audit was not made"
UNKNOWN = "terms of the source are unknown"


def cards(facts=FACTS, scores=EMPTY):
    return render_cards(facts, scores).values()


def front(card):
    return YAML(typ="safe").load(card.split("---\n")[1])


def rows(card):
    """Return the cells of every line of a table, split at pipes that are not escaped."""
    lines = [line for line in card.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("scores", SHIPPED, ids=lambda one: f"{one.source}-{one.masks}")
def test_every_shipped_score_or_its_reason_is_on_both_cards(scores):
    assert scores.metrics, "no shipped scores"
    for card in cards(scores=scores):
        values = {row[1]: row[2] for row in rows(card) if len(row) in (6, 7)}
        for name, value in scores.metrics.items():
            if not name.startswith("n_") and not name.endswith(("_sd", "_se")):
                assert float(values[name].split()[0]) == pytest.approx(value, rel=5e-3)
        for name, told in scores.details.items():
            if isinstance(told, dict) and told.get("reason"):
                assert re.search(rf"^- .*\b{name}\b.*: .*{re.escape(told['reason'])}$", card, re.M)
        assert "not comparable with those of the paper" in card
        assert f"{scores.metrics['n_synthetic']} synthetic images" in card


def test_a_null_score_without_a_reason_says_so():
    for card in cards(scores=replace(EMPTY, metrics={"fid": None, "kid": 0.25, "kid_se": 0.5})):
        assert "- fid: no reason was recorded" in card
        assert ["KID \u2193", "kid", "0.250 \u00b1 0.500"] in [row[:3] for row in rows(card)]
        assert "not comparable with those of the paper" not in card
        assert "Mask fidelity was not measured" in card


def test_scores_of_lite0_are_set_apart_from_the_papers():
    for card in cards(scores=replace(EMPTY, metrics={"lite0_kernel": 0.25, "lite0_kernel_se": 0.5})):
        assert ["Kernel distance, lite0 \u2193", "lite0_kernel", "0.250 \u00b1 0.500"] in [
            row[:3] for row in rows(card)
        ]
        assert "start with lite0_ are of the features of EfficientNet-Lite0 and are not comparable with those" in card


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (None, {"license": "other", "license_name": "not-stated"}),
        ("CC BY-NC 4.0", {"license": "cc-by-nc-4.0"}),
        ("said to be CC BY-NC 4.0", {"license": "other", "license_name": "terms-of-the-source"}),
    ],
)
def test_a_licence_is_named_only_where_the_terms_are_one(licence, expected):
    for card in cards(replace(FACTS, licence=licence)):
        head = front(card)
        assert {key: head[key] for key in head if key.startswith("license")} == expected
        assert (UNKNOWN in card) == (licence is None)
        assert licence is None or f"recorded here: {licence}." in card


def test_front_matter_names_size_task_and_base_model():
    dataset, model = map(front, cards())
    assert dataset["size_categories"] == ["n<1K"]
    assert dataset["task_categories"] == ["image-segmentation"]
    assert "base_model" not in model
    larger = front(next(iter(cards(replace(FACTS, pairs=1000)))))
    assert larger["size_categories"] == ["1K<n<10K"]
    base = {"kind": "diffusers", "name": "owner/name", "sha256": None}
    dataset, model = cards(replace(FACTS, base=base, base_on_hub=True, licence="CC BY-NC 4.0"))
    assert (front(model)["license"], front(model)["base_model"]) == ("other", "owner/name")
    assert front(dataset)["license"] == "cc-by-nc-4.0"
    assert "base model that was made elsewhere" in dataset


def test_own_masks_are_not_called_those_of_real_pairs():
    dataset, model = cards(replace(FACTS, own_masks=True))
    assert "The masks are the generator's own" in dataset
    assert "those of the real training pairs" not in dataset
    assert "with masks of its own" in model
    assert not any("own masks" in card or "generator's own" in card for card in cards())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"kind": "transformed"}, "those of the real training pairs, changed at random"),
        ({"kind": "folder"}, "they come from a folder of masks. Pairs name no parent"),
        ({"kind": "dataset", "dataset": "other"}, "they come from the data set other. Pairs name no parent"),
        ({"kind": "dataset", "dataset": "clinic"}, "those of the real training pairs, unchanged"),
        ({"kind": "shapes"}, "The masks are new: drawn with numbers, sizes and places like those"),
        ({"kind": "inverted"}, "The masks are new: sampled from what was learned"),
        ({"kind": "pseudo"}, "that a segmenter of the real training pairs found in 0 real images without masks. Pairs"),
    ],
)
def test_where_masks_come_from_is_told_by_their_kind(row, words):
    dataset, _ = cards(replace(FACTS, mask_row=row))
    assert words in dataset
    assert ("those of the real training pairs" in dataset) == (row.get("dataset") == "clinic" or "changed" in words)


def test_the_warning_of_near_copies_appears_only_then():
    assert not any("near cop" in card.lower() for card in cards())
    for card in cards(replace(FACTS, near_copies=True)):
        assert card.index("**Warning: near copies.**") < card.index("\n## ")


def test_the_copy_audit_is_copied_or_missed():
    assert all(NOT_MADE in card for card in cards())
    told = entry(0.125, "Share above it.", n_synthetic=8, floor=0.05, more={"threshold": 0.9, "expected": 0.4})
    names = ("copy_rate", "copy_rate_parent", "copy_rate_unlabelled", "closer_to_train", "self_retrieval_unlabelled")
    details = dict.fromkeys(names, told) | {"copy_rule": "95th percentile"}
    for card in cards(scores=replace(EMPTY, details=details)):
        assert NOT_MADE not in card
        audited = {row[1]: row for row in rows(card) if len(row) == 7}
        assert set(audited) == {"Name", ":--", *names}
        assert audited["copy_rate_parent"][2:5] == ["0.125", "8 synthetic", "0.0500"]
        assert "threshold: 0.9" in audited["copy_rate"][5]
        assert "- copy_rule: 95th percentile" in card
    missed = {"copy_rate": entry(None, "Share.", reason="no hold-out")}
    assert all(NOT_MADE in card and "- copy_rate: no hold-out" in card for card in cards(
        scores=replace(EMPTY, details=missed)))  # fmt: skip


def test_tables_keep_their_columns_and_text_is_one_line():
    odd = replace(FACTS, dataset_row={"kind": "folder", "prompt": "a | b\n# <c> `d` \\"}, filters={"kept": {"a|b": 3}})
    for card in cards(odd, SHIPPED[0]):
        wide = [len(row) for row in rows(card)]
        assert set(wide) == {2, 6, 7}
    dataset = next(iter(cards(odd)))
    assert "| prompt | a \\| b # \\<c> \\`d\\` \\\\ |" in dataset
    assert "| kept | a\\|b: 3 |" in dataset
    assert "No filter is recorded" not in dataset
    assert "1x, 3x." in dataset
    assert told_as([{"name": "scale", "factor": [0.7, 1.3]}]) == "(name: scale, factor: (0.7, 1.3))"


def test_imported_weights_were_not_trained_here():
    model = render_cards(replace(FACTS, generator_row={"method": "siamese", "weights": "x.ckpt"}), EMPTY)[
        "MODEL_CARD.md"
    ]
    assert "nothing was trained here" in model
    assert "## Training" not in model


def test_the_same_facts_give_the_same_text():
    for text, again in zip(cards(scores=SHIPPED[0]), cards(scores=SHIPPED[0]), strict=True):
        assert text == again
        assert "\n\n\n" not in text
        assert text.endswith("|\n")


def test_the_pipeline_gathers_facts_from_params_and_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real, added = phantom(tmp_path / "in")
    image = added.image(added.pairs[0])
    for source, target in ((real["train"], paths.processed("phantom", "train")),
                           (added, paths.samples("phantom", "siamese-g0", "random"))):  # fmt: skip
        target.parent.mkdir(parents=True)
        source.folder.rename(target)
    first = paths.samples("phantom", "siamese-g0", "random") / added.pairs[0].image
    write_image(first, image, {"generator": f"siamese-g0 {'d' * 64}", "base": "e" * 64})
    facts = card_facts(PARAMS, "phantom", "siamese", "random", 0, versions=VERSIONS)
    assert (facts.real_pairs, facts.pairs, facts.multiples) == (6, 6, (1, 2))
    assert (facts.generator_sha256, facts.base["sha256"]) == ("d" * 64, "e" * 64)
    assert facts.licence is None
    shipped = [one for one in SHIPPED if (one.source, one.masks) == ("siamese", "random")]
    write_all(PARAMS, shipped, VERSIONS)
    card = (CARDS / "phantom/siamese-g0-random/DATASET_CARD.md").read_text()
    assert "drawn by this project's code" in card
    assert UNKNOWN in card
    assert str(tmp_path) not in card


def test_a_filtered_set_names_its_generator_and_its_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real, added = phantom(tmp_path / "in")
    for source, target in ((real["train"], paths.processed("phantom", "train")),
                           (added, paths.samples("phantom", "siamese-strict-g0", "random"))):  # fmt: skip
        target.parent.mkdir(parents=True)
        source.folder.rename(target)
    counts = paths.RESULTS / "filters/phantom/siamese-strict-g0-random.json"
    write_json(counts, {"kept": 6, "dropped": {"copy": 2}})
    facts = card_facts(PARAMS, "phantom", "siamese-strict", "random", 0, versions=VERSIONS)
    assert facts.generator_sha256 is None  # these images do not say
    dataset, model = cards(facts)
    assert dataset.split("---\n")[2].startswith("\n# Synthetic pairs of phantom: siamese-strict, random masks\n")
    for line in ("| filter | strict |", "| dropped | copy: 2 |", "| kept | 6 |"):
        assert line in dataset
    assert "# Generator siamese on phantom" in model
    assert "| SHA-256 of the generator's weights | not recorded |" in model


def test_terms_are_those_of_the_download_then_of_the_catalogue():
    row = {"path": "data/raw/mvtec/carpet"}
    assert terms_of(row, {})["licence"] == "CC BY-NC-SA 4.0"
    mine = Download.model_validate_json('{"page": "p", "licence": "mine", "archives": [{"name": "a.zip"}]}')
    assert terms_of(row, {"mvtec": mine}) == {"licence": "mine", "page": "p", "citation": None}
    for unknown in ("data/raw/other", "data/raw", "/somewhere/mvtec"):
        assert not any(terms_of({"path": unknown}, {}).values())


def test_names_of_sources_and_bases():
    rows_of = {"siamese": 0, "siamese-b": 0}
    assert split_source("siamese-b-strict", rows_of) == ("siamese-b", "strict")
    assert split_source("siamese-strict", rows_of) == ("siamese", "strict")
    with pytest.raises(UserError, match="no row of generators fits sia"):
        split_source("sia", rows_of)
    named = SimpleNamespace(kind="diffusers", model="owner/name", revision=None, variant=None)
    assert base_of(named, "f")[1]
    named.model = "/home/somebody/sd"
    assert base_of(named, "f") == (
        {"kind": "diffusers", "name": "sd", "sha256": "f", "revision": None, "variant": None},
        False,
    )


def test_images_without_masks_are_told_with_the_measure_that_compares_with_them():
    bare, with_images = (
        dict(zip(("data", "model"), cards(replace(FACTS, unlabelled=n)), strict=True)) for n in (0, 460)
    )
    assert "on the training images of clinic alone." in bare["model"]
    assert "on the training images of clinic and on 460 images without masks." in with_images["model"]
    assert not any("without masks" in card for card in bare.values())
    assert all("460 of them went into the base model" in card for card in with_images.values())
    assert all("copy_rate_unlabelled compares with them" in card for card in with_images.values())
    learned = replace(FACTS, unlabelled=460, generator_row={**FACTS.generator_row, "pseudo_masks": True})
    assert "and on 460 images without masks, with masks of a segmenter." in "".join(cards(learned))
