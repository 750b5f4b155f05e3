"""A blinded deck of images for raters, and apart from it the key that says which image is which.

The paper asks clinicians whether an image is real; how is not printed. docs/mos.md has the protocol that is used here.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data.pairs.errors import UserError
from data.pairs.files import csv_text, sha256_tree, whole_folder, write_json, write_text
from data.pairs.image_io import BadImageError
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from evaluation.mos.choice import PRACTICE, RATED, REAL, Options, Pick, pick_controls, pick_synthetic

TEMPLATE = Path(__file__).with_name("mos.html.j2")
KEY, FACTS = "key.csv", "deck.json"
SAME_TIME = 946684800  # 2000-01-01, the time of every file: the order of writing tells nothing


class Card(NamedTuple):
    """One image of a deck with what its name hides; a row of the key."""

    image: str  # file name without .png
    use: str  # RATED or PRACTICE
    set: str
    id: str
    parent: str
    mask_sha256: str
    split: str


def _read(picks: Sequence[Pick]) -> list[np.ndarray]:
    """Return the image of each pick, uint8 (H, W, 3), all of one size.

    Raises: UserError that names every file that cannot be read, or else the sizes of each set.
    """
    images, problems = [], []
    sizes: dict[tuple[int, int], set[str]] = {}
    for pick in picks:
        try:
            images.append(pick.pairs.image(pick.pair))
        except (BadImageError, FileNotFoundError) as error:
            problems.append(f"{pick.pairs.folder / pick.pair.image}: {error}")
            continue
        height, width = images[-1].shape[:2]
        sizes.setdefault((width, height), set()).add(pick.set)
    if problems:
        raise UserError(f"{len(problems)} images of the deck cannot be read", problems)
    if len(sizes) > 1:  # resizing some of them would leave traces that tell the sets apart
        lines = [f"{width}x{height} px: {', '.join(sorted(names))}" for (width, height), names in sorted(sizes.items())]
        raise UserError("the images of a deck must all have one size: prepare and sample at the same size", lines)
    return images


def _write_images(folder: Path, cards: Sequence[Card], images: Sequence[np.ndarray]) -> None:
    for card, image in sorted(zip(cards, images, strict=True), key=lambda one: one[0].image):
        path = folder / card.use / f"{card.image}.png"
        path.parent.mkdir(exist_ok=True)
        # nothing of the old file comes along; uncompressed, all have one size: smooth images would be smaller
        Image.fromarray(image).save(path, format="PNG", compress_level=0)


def render_form(deck: str, cards: Sequence[Card]) -> str:
    """Return the page of a deck: it knows file names in the order of the alphabet, and nothing else of an image."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    names = {use: sorted(card.image for card in cards if card.use == use) for use in (RATED, PRACTICE)}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(deck=deck, **names)


def _key_csv(deck: str, cards: Sequence[Card]) -> str:
    return csv_text(["deck", *Card._fields], ([deck, *card] for card in sorted(cards)))


def _blockers(out: Path, key: Path) -> Iterator[str]:
    """Yield why the two folders cannot be written: a lost key makes every rating that was collected worthless."""
    yield from (f"{path} is there already: name another or remove it" for path in (out, key) if path.exists())
    if key.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(key.resolve()):
        yield f"the key {key} and the deck {out} must lie apart: the deck is handed to raters as it is"


def write_deck(
    sets: Mapping[str, PairSet],
    held_out: Mapping[str, PairSet],
    others: Mapping[str, PairSet],
    options: Options,
    out: Path,
    key: Path,
) -> dict[str, Any]:
    """Write the deck to `out` and its key to `key`, and return the facts in key/deck.json; the same input, same bytes.

    `out` holds index.html, images/*.png and practice/*.png; `key` holds key.csv, one row an image, and deck.json.

    Raises: UserError as `pick_synthetic`, `pick_controls`; when images differ in size, or a folder is there already.
    """
    blockers = list(_blockers(out, key))
    if blockers:
        raise UserError("the deck cannot be written", blockers)
    picks = pick_synthetic(sets, options)
    picks += pick_controls(held_out, others, picks, options)
    images = _read(picks)
    rng = np.random.default_rng(item_seed(options.seed, "mos names"))
    names = [f"{number:08x}" for number in rng.choice(2**32, len(picks), replace=False)]
    cards = [
        Card(name, use, set_, pair.id, pair.parent, pair.mask_sha256, pair.split)
        for name, (use, set_, pair, _) in zip(names, picks, strict=True)
    ]
    with whole_folder(out) as folder, whole_folder(key) as key_folder:
        _write_images(folder, cards, images)
        deck = sha256_tree(folder)[:12]
        write_text(folder / "index.html", render_form(deck, cards))
        for path in folder.rglob("*"):
            os.utime(path, (SAME_TIME, SAME_TIME))
        counts = {use: Counter(card.set for card in cards if card.use == use) for use in (RATED, PRACTICE)}
        controls = Counter(card.split for card in cards if (card.use, card.set) == (RATED, REAL))
        facts: dict[str, Any] = {"deck": deck, "asked": options._asdict(), "real_controls_from": controls, **counts}
        write_text(key_folder / KEY, _key_csv(deck, cards))
        write_json(key_folder / FACTS, facts)
    return facts
