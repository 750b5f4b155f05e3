"""CSV and JSON that somebody has edited, or that were cut off: a sentence with the place, and never another meaning."""

import pytest

from data.pairs.errors import UserError
from data.pairs.files import read_json
from data.pairs.manifest import COLUMNS, Pair, read_pairs, write_manifest
from data.pairs.prepared import LoneImage, Prepared, read_lone_images, write_lone_images
from data.pairs.tables import read_table

PAIRS = [
    Pair("a", "images/a.png", "masks/a.png", "train", "real", foreground=0.25, box="0 12 64 40"),
    Pair("b,1", "images/b,1.png", "masks/b,1.png", "train", "real", foreground=1e-06, group='the "first"'),
]


@pytest.fixture
def manifest(tmp_path):
    write_manifest(tmp_path, PAIRS)
    return tmp_path / "manifest.csv"


def without(text: str, column: str) -> str:
    place = COLUMNS.index(column)
    lines = [line.split(",") for line in text.splitlines()[:2]]
    return "\n".join(",".join([*cells[:place], *cells[place + 1 :]]) for cells in lines)


DAMAGE = {
    "empty": (lambda text: b"", "is empty: its first line names the columns id, image"),
    "junk": (lambda text: bytes(range(256)), "is no UTF-8 text"),
    "zeros": (lambda text: text.encode() + bytes(9), "holds bytes of 0"),
    "wide": (lambda text: text.encode("utf-16"), "is no UTF-8 text"),
    "latin": (lambda text: text.replace("first", "Münster").encode("latin-1"), "is no UTF-8 text"),
    "column": (lambda text: without(text, "parent").encode(), "lacks the columns parent; it has id, image"),
    "separator": (lambda text: text.replace(",", ";").encode(), "separated by semicolons: save it with commas"),
    "column twice": (lambda text: text.replace("seed", "group", 1).encode(), "lacks the columns seed"),
    "number": (lambda text: text.replace("0.25", "a lot").encode(), "line 2: foreground 'a lot' is no share"),
    "comma": (lambda text: text.replace("0.25", '"0,25"').encode(), "line 2: foreground '0,25' is no share"),
    "not finite": (lambda text: text.replace("0.25", "nan").encode(), "line 2: foreground 'nan'"),
    "percent": (lambda text: text.replace("0.25", "25").encode(), "line 2: foreground '25' is no share"),
    "box": (lambda text: text.replace("0 12 64 40", "0 12 64").encode(), "line 2: box '0 12 64' is not left, top"),
    "id twice": (lambda text: (text + text.splitlines()[1] + "\n").encode(), "line 4: id 'a' stands in line 2 too"),
    "id": (lambda text: text.replace("\na,", "\na/b,").encode(), "line 2: id 'a/b' is no name of a file"),
    "no id": (lambda text: text.replace("\na,", "\n,").encode(), "line 2: id '' is no name"),
    "away": (lambda text: text.replace("masks/a", "../masks/a").encode(), "line 2: mask '../masks/a.png' leads out"),
    "no mask": (lambda text: text.replace("masks/a.png", "").encode(), "line 2: names no mask"),
    "classes": (lambda text: text.replace("lesion\n", "polyp\n", 1).encode(), "these have lesion and polyp"),
    "half a line": (lambda text: text[: text.index("0.25")].encode(), "line 2 has 13 cells in place of 16"),
    "half a cell": (lambda text: text[: text.index("first")].encode(), "is no CSV: unexpected end of data"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_manifest_is_a_sentence(manifest, name):
    assert [pair.id for pair in read_pairs(manifest.parent).pairs] == ["a", "b,1"]
    damage, words = DAMAGE[name]
    manifest.write_bytes(damage(manifest.read_text(encoding="utf-8")))
    with pytest.raises(UserError) as error:
        read_pairs(manifest.parent)
    assert words in str(error.value)
    assert str(manifest) in error.value.title


def test_what_a_spreadsheet_changes_without_harm_is_read(manifest):
    text = "\ufeff" + manifest.read_text(encoding="utf-8").replace("\n", "\r\n") + "\r\n"
    manifest.write_bytes(text.encode())
    assert read_pairs(manifest.parent).pairs == tuple(PAIRS)


def test_a_manifest_cut_after_its_first_line_is_no_set_where_pairs_are_needed(manifest, tmp_path):
    manifest.write_text(manifest.read_text(encoding="utf-8").splitlines()[0] + "\n")
    assert len(read_pairs(tmp_path)) == 0
    with pytest.raises(UserError, match="names no pair: it was cut off"):
        read_pairs(tmp_path, empty=False)
    (tmp_path / "all").mkdir()
    (tmp_path / "all/train").symlink_to(tmp_path)
    for read in (Prepared(tmp_path / "all").splits, lambda: Prepared(tmp_path / "all").train):
        with pytest.raises(UserError, match="names no pair"):
            read()


def test_every_row_at_fault_is_named_and_no_more_than_ten(manifest):
    head = manifest.read_text(encoding="utf-8").splitlines()[0]
    manifest.write_text("\n".join([head, *["x,y"] * 12]))
    with pytest.raises(UserError) as error:
        read_pairs(manifest.parent)
    assert error.value.title == f"{manifest}: 12 problems to mend, then run again"
    assert error.value.problems[-2:] == ("line 11 has 2 cells in place of 16", "and 2 more")


def test_lone_images_and_short_rows(tmp_path):
    write_lone_images(tmp_path, [LoneImage("a", "images/a.png", "a.jpg", "9x9", "0" * 64)])
    path = tmp_path / "images.csv"
    path.write_text(path.read_text() + "b,images/b.png\n")
    with pytest.raises(UserError, match="line 3 has 2 cells in place of 6"):
        read_lone_images(tmp_path)
    assert read_table(path, ("id",), filled=True)[1]["native"] == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"b": 1}', b"null"])
def test_damaged_json_says_what_to_do(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json is damaged: make it anew"):
        read_json(tmp_path / "a.json", "make it anew", ("a",))
