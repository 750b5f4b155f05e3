"""A blinded deck of images for raters, and apart from it the key that says which image is which.

The paper asks clinicians whether an image is real; how is not printed. docs/mos.md has the protocol that is used here.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree, whole_folder, write_json, write_text
from data.pairs.image_io import BadImageError
from data.pairs.manifest import Pair, PairSet
from data.pairs.seeds import item_seed
from data.pairs.tables import csv_text

TEMPLATE = Path(__file__).with_name("mos.html.j2")
KEY, FACTS = "key.csv", "deck.json"
REAL = "real"  # the set of the controls; synthetic sets are <generator>-<masks>
RATED, PRACTICE = "images", "practice"  # what an image is for, and the folders of a deck
SAME_TIME = 946684800  # 2000-01-01, the time of every file: the order of writing tells nothing


class Options(NamedTuple):
    """What the user chooses: images of each set and as many real controls, images to practise on, raters to find."""

    images: int = 50
    practice: int = 4
    raters: int = 3
    seed: int = 0


class Pick(NamedTuple):
    """A pair that goes into the deck."""

    use: str
    set: str
    pair: Pair
    pairs: PairSet


class Card(NamedTuple):
    """One image of a deck with what its name hides; a row of the key."""

    image: str  # file name without .png
    use: str  # RATED or PRACTICE
    set: str
    id: str
    parent: str
    mask_sha256: str
    split: str


def _origin(pair: Pair) -> str:
    """Return the real pair that a mask comes from, or the mask itself where that is not known."""
    return pair.parent or pair.id


def pick_synthetic(sets: Mapping[str, PairSet], options: Options) -> list[Pick]:
    """Return up to `images` pairs of each set, from the same masks wherever the sets share them, and half the practice.

    Masks that most sets have come first, in an order drawn from the seed; no mask to practise on is rated.

    Raises: UserError naming each set that is left without an image.
    """
    by_origin: dict[str, dict[str, Pair]] = {name: {} for name in sets}
    for name, pairs in sets.items():
        for pair in pairs.pairs:
            by_origin[name].setdefault(_origin(pair), pair)
    holders = Counter(origin for origins in by_origin.values() for origin in origins)
    order = sorted(holders, key=lambda origin: (-holders[origin], item_seed(options.seed, "mos mask", origin)))
    kept = max(0, len(order) - options.practice // 2)
    picks = []
    for name, pairs in sets.items():
        shared = [by_origin[name][origin] for origin in order[:kept] if origin in by_origin[name]]
        picks += [Pick(RATED, name, pair, pairs) for pair in shared[: options.images]]
    empty = sorted(set(sets) - {pick.set for pick in picks})
    if empty:
        problems = [f"{sets[name].folder}: {len(sets[name])} pairs" for name in empty]
        raise UserError("these sets have no image to rate: fewer --practice images or other sets are needed", problems)
    for number, origin in enumerate(order[kept:]):
        names = [name for name in sets if origin in by_origin[name]]
        name = names[number % len(names)]
        picks.append(Pick(PRACTICE, name, by_origin[name][origin], sets[name]))
    return picks


def pick_controls(
    held_out: Mapping[str, PairSet], others: Mapping[str, PairSet], synthetic: Sequence[Pick], options: Options
) -> list[Pick]:
    """Return as many real pairs as the largest set has images, and the other half of the practice.

    Pairs of `held_out` come first, then those of `others`, split after split, that have no part in a mask of the deck:
    neither parents or donors nor pairs of the same group.

    Raises: UserError when no real pair is left.
    """
    used = {name for pick in synthetic for name in (_origin(pick.pair), pick.pair.donor) if name}
    groups = {pick.pair.group for pick in synthetic if pick.pair.group}
    groups |= {pair.group for pairs in others.values() for pair in pairs.pairs if pair.id in used and pair.group}
    tiers = [(0, pairs) for pairs in held_out.values()] + [*enumerate(others.values(), 1)]
    free = [
        (tier, pair, pairs)
        for tier, pairs in tiers
        for pair in pairs.pairs
        if pair.source == REAL and (tier == 0 or (pair.id not in used and pair.group not in groups))
    ]
    free.sort(key=lambda one: (one[0], item_seed(options.seed, "mos control", one[1].split, one[1].id)))
    practice = options.practice - options.practice // 2
    counts = Counter(pick.set for pick in synthetic if pick.use == RATED)
    free = free[: max(counts.values()) + practice]
    rated = len(free) - practice
    if rated < 1:
        places = [str(pairs.folder) for _, pairs in tiers]
        raise UserError(f"only {len(free)} real images can be controls, {practice} of them for practice", places)
    return [Pick(RATED if n < rated else PRACTICE, REAL, pair, pairs) for n, (_, pair, pairs) in enumerate(free)]


def _read(picks: Sequence[Pick]) -> list[np.ndarray]:
    """Return the image of each pick, uint8 (H, W, 3), all of one size; refuse unreadable files, then other sizes."""
    images, problems = [], []
    sizes: dict[tuple[int, ...], set[str]] = {}  # width and height in px -> names of sets
    for pick in picks:
        try:
            image = pick.pairs.image(pick.pair)
            images.append(image)
            sizes.setdefault(image.shape[1::-1], set()).add(pick.set)
        except BadImageError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{len(problems)} images of the deck cannot be read", problems)
    if len(sizes) > 1:  # resizing some of them would leave traces that tell the sets apart
        lines = [f"{width}x{height} px: {', '.join(sorted(names))}" for (width, height), names in sorted(sizes.items())]
        raise UserError("the images of a deck must all have one size: prepare and sample at the same size", lines)
    return images


def _render_form(deck: str, cards: Sequence[Card]) -> str:
    """Return the page of a deck: it knows file names in the order of the alphabet, and nothing else of an image."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    names = {use: [card.image for card in cards if card.use == use] for use in (RATED, PRACTICE)}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(deck=deck, **names)


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
    problems = [f"{path} is there already: name another or remove it" for path in (out, key) if path.exists()]
    if key.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(key.resolve()):
        problems.append(f"the key {key} and the deck {out} must lie apart: the deck is handed to raters as it is")
    if problems:  # a lost key makes every rating that was collected worthless
        raise UserError("the deck cannot be written", problems)
    picks = pick_synthetic(sets, options)
    picks += pick_controls(held_out, others, picks, options)
    rng = np.random.default_rng(item_seed(options.seed, "mos names"))
    names = [f"{number:08x}" for number in rng.choice(2**32, len(picks), replace=False)]
    cards = {
        Card(name, use, set_, pair.id, pair.parent, pair.mask_sha256, pair.split): image
        for name, (use, set_, pair, _), image in zip(names, picks, _read(picks), strict=True)
    }
    with whole_folder(out) as folder, whole_folder(key) as key_folder:
        for card, image in sorted(cards.items()):
            path = folder / card.use / f"{card.image}.png"
            path.parent.mkdir(exist_ok=True)
            # nothing of the old file comes along; uncompressed, all have one size: smooth images would be smaller
            Image.fromarray(image).save(path, format="PNG", compress_level=0)
        deck = sha256_tree(folder)[:12]
        write_text(folder / "index.html", _render_form(deck, sorted(cards)))
        for path in folder.rglob("*"):
            os.utime(path, (SAME_TIME, SAME_TIME))
        counts = {use: Counter(card.set for card in cards if card.use == use) for use in (RATED, PRACTICE)}
        controls = Counter(card.split for card in cards if (card.use, card.set) == (RATED, REAL))
        facts: dict[str, Any] = {"deck": deck, "asked": options._asdict(), "real_controls_from": controls, **counts}
        write_text(key_folder / KEY, csv_text(["deck", *Card._fields], ([deck, *card] for card in sorted(cards))))
        write_json(key_folder / FACTS, facts)
    return facts
