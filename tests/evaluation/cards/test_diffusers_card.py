"""The card of a generator for diffusers: lines that are Python, and terms that are never made up."""

from dataclasses import replace

from ruamel.yaml import YAML

from evaluation.cards.diffusers_card import DiffusersFacts, render_diffusers_card, snippet

FACTS = DiffusersFacts(
    name="siamese-g0",
    dataset="clinic",
    prompt='a "polyp"\nof Ünal',
    size_px=384,
    pairs=31,
    row={"method": "siamese", "hint": "dhi"},
    training={"steps": 70},
    sampling={"steps": 50, "guidance": 9.0, "eta": 0.5},
    lacking={"mask_guidance": 1.7},
    latent_shape=(4, 48, 48),
    dense="dense_hint",
    mask="mask.png",
    classes=("lesion",),
    greys=(255,),
    base={"kind": "diffusers", "name": "somebody/sd", "sha256": "b" * 64},
    base_on_hub=True,
    generator_sha256="a" * 64,
    drawn=False,
)


def front(facts):
    return YAML(typ="safe").load(render_diffusers_card(facts).split("---\n")[1])


def test_the_lines_are_python_whatever_the_prompt():
    code = snippet(FACTS)
    compile(code, "card", "exec")
    assert r'"a \"polyp\"\nof Ünal"' in code
    assert "eta=0.5" in code
    assert "trust_remote_code" not in snippet(replace(FACTS, dense=""))
    assert "eta" not in snippet(replace(FACTS, sampling={**FACTS.sampling, "eta": 0.0}))


def test_a_foreign_base_is_named_and_its_terms_are_left_open():
    head, card = front(FACTS), render_diffusers_card(FACTS)
    assert head["base_model"] == "somebody/sd"
    assert head["license_name"] == "terms-of-the-source-and-of-the-base-model"
    assert "mask_guidance: 1.7" in card
    assert "The terms of the source are not stated" in card
    assert "base_model" not in front(replace(FACTS, base_on_hub=False))


def test_the_source_has_its_own_terms():
    here = replace(FACTS, base={"kind": "pretrain", "name": "pretrained here", "sha256": "b" * 64}, base_on_hub=False)
    assert front(here)["license_name"] == "not-stated"
    stated = replace(here, licence="CC BY-NC 4.0", page="https://a.example/b", citation="A, 2020")
    assert front(stated)["license"] == "cc-by-nc-4.0"
    for part in ("recorded here: CC BY-NC 4.0", "https://a.example/b", "A, 2020"):
        assert part in render_diffusers_card(stated)
    assert front(replace(here, drawn=True))["license"] == "apache-2.0"


def test_greys_of_classes_and_imported_weights_are_told():
    card = render_diffusers_card(replace(FACTS, pairs=0, classes=("polyp", "tool"), greys=(127, 255)))
    assert "127 polyp, 255 tool" in card
    assert "imported from a checkpoint" in card
    assert "0 pairs" not in card
