"""params.yaml and presets are bounded before they are parsed, and every error is a line."""

import time

import pytest

from data.pairs.errors import UserError
from pipeline.params.presets import composed
from pipeline.params.read import read_params
from pipeline.params.yaml_text import MOST_BYTES, MOST_ENTRIES
from tests.campaigns import params_fuzz
from tests.contracts.imports import ROOT

SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
LAUGHS = "\n".join(
    [
        "a: &a [x, x, x]",
        *(f"{two}: &{two} [{', '.join(['*' + one] * 9)}]" for one, two in zip("abcdefg", "bcdefgh", strict=True)),
    ]
)
CASES = {
    "brackets": ("x: " + "[" * 40_000, "more than 20 lists or mappings"),
    "aliases": (LAUGHS, "stands for more than 50000 values"),
    "an alias in itself": ("a: &a [*a]", "stands for what it lies in"),
    "seeds": (
        SHIPPED.replace("  seeds: [0]", f"  seeds: [{', '.join(map(str, range(1001)))}]", 1),
        "more than 1000 entries",
    ),
    "many seeds": (
        SHIPPED.replace("  seeds: [0]", f"  seeds: [{', '.join(['1'] * 80_000)}]", 1),
        "more than 50000 values",
    ),
    "size": ("x: " + "y" * MOST_BYTES, "at most 500000 are read"),
    "a tag": ("x: !!bool maybe", "does not fit the kind"),
    "python": ("x: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    "a tab": ("x:\n\ty: 1", "line 2, column 1"),
    "a control character": ("x: \0", "sign number 4"),
    "a key twice": (f"{SHIPPED}\ndatasets: {{}}\n", "datasets stands twice, in line"),
    "a key that is no text": (f"{SHIPPED}\n1: 2\n", "the key 1 is no text"),
    "a date": (
        SHIPPED.replace("prompt: a photo of a polyp", "prompt: 2020-01-01"),
        "prompt: 2020-01-01 is read as a date",
    ),
    "bytes": (SHIPPED.replace("prompt: a photo of a polyp", "prompt: !!binary aGk="), "the kind bytes"),
    "a huge number": (SHIPPED.replace("steps: 450", "steps: " + "9" * 40), "training.steps: is larger than any"),
    "thousands of digits": (SHIPPED.replace("steps: 450", "steps: " + "9" * 5000), "does not fit the kind"),
    "no number": (SHIPPED.replace("guidance: 1.0", "guidance: .nan"), "sampling.guidance: must be a finite number"),
    "endless": (SHIPPED.replace("guidance: 1.0", "guidance: -.inf"), "sampling.guidance: must be"),
    "text for a list": (SHIPPED.replace("  seeds: [0]", "  seeds: zero", 1), "comparison.seeds: must be"),
    "two documents": (f"{SHIPPED}\n---\nx: 1\n", "another document"),
    "extends a number": ("extends: 1\n", "extends must be a list of files"),
    "extends nothing": ("extends:\n", "extends must be a list of files"),
    "extends a mapping": ("extends: {a: b}\n", "extends must be a list of files"),
    "extends a list in a list": ("extends: [[a]]\n", "extends must be a list of files"),
    "extends what is not there": ("extends: nothing.yaml\n", "no such preset"),
    "extends itself": ("extends: params.yaml\n", "extends itself"),
    "extends without end": ("extends: [params.yaml\n", "did not find expected"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_too_much_or_no_yaml_is_a_line_within_seconds(tmp_path, name):
    text, said = CASES[name]
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    start = time.monotonic()
    with pytest.raises(UserError) as refused:
        read_params(tmp_path / "params.yaml")
    assert time.monotonic() - start < 10
    lines = [refused.value.title, *refused.value.problems]
    assert any(said in line for line in lines), lines
    assert all("\n" not in line and len(line) < 1200 for line in lines)


def test_a_byte_order_mark_is_no_matter_and_another_encoding_is_a_line(tmp_path):
    (tmp_path / "a.yaml").write_text(SHIPPED, encoding="utf-8-sig")
    assert read_params(tmp_path / "a.yaml") == read_params(ROOT / "params.yaml")
    (tmp_path / "b.yaml").write_text(SHIPPED, encoding="utf-16")
    with pytest.raises(UserError, match="byte 0 is not UTF-8"):
        read_params(tmp_path / "b.yaml")


def test_extends_takes_one_name_a_list_and_a_list_in_lines(tmp_path):
    (tmp_path / "part.yaml").write_text(SHIPPED)
    texts = ["extends: part.yaml\n", "extends: [part.yaml]  # all\n", "extends:\n  - 'part.yaml'\n"]
    found = []
    for text in texts:
        (tmp_path / "whole.yaml").write_text(text)
        found.append(composed(tmp_path / "whole.yaml"))
    assert found[0] == found[1] == found[2]
    assert "generators:" in found[0]


def test_many_rows_and_names_are_checked_in_linear_time(tmp_path):
    rows = "".join(
        f"  g{n}: {{method: siamese, hint: dhi, hint_widths: [4, 8, 16, 32]}}\n" for n in range(MOST_ENTRIES - 2)
    )
    text = SHIPPED.replace("\ngenerators:\n", f"\ngenerators:\n{rows}").replace(
        "  seeds: [0]", f"  seeds: {list(range(1000))}", 1
    )
    (tmp_path / "params.yaml").write_text(text)
    start = time.monotonic()
    read_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(SHIPPED.replace("[phantom]", f"[{', '.join(f'd{n}' for n in range(999))}]"))
    with pytest.raises(UserError) as refused:
        read_params(tmp_path / "params.yaml")
    assert time.monotonic() - start < 20
    assert len(refused.value.problems) == 101
    assert refused.value.problems[-1].endswith(" more")


def test_the_campaign_finds_nothing_in_a_few_cases():
    counts = params_fuzz.run(24, seed=1)
    assert counts["failures"] == []
