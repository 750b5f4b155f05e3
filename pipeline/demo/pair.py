"""One mask and its image, by the code of the verb `generate` alone: the same mask, seed and options, the same bytes."""

import contextlib
import functools
import io
import json
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Base64Bytes, Field, ValidationError

from data.config_errors import format_errors
from data.given_masks.read import Wanted, how_to_read
from data.given_masks.sets import given_folder
from data.pairs.config import Config
from data.pairs.errors import UserError, one_line
from data.pairs.image_io import write_mask
from data.pairs.manifest import PairSet
from pipeline.demo.offers import GENERATORS, Offers
from pipeline.params.options import reading_of, value_of
from siamese.found import Found, find_generator
from siamese.generate import Generator, load_generator

DRAWN = "drawn.png"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class Form(Config):
    """What the page sends: a mask as drawn, one label a pixel, or a file of the user's, and what to make of it."""

    generator: str
    seed: int = Field(default=0, ge=0)
    settings: dict[str, str] = Field(default={})  # of sampling, only those that were changed
    reading: str = ""
    labels: Base64Bytes = b""
    file: Base64Bytes | None = None
    name: str = DRAWN


class Drawn(NamedTuple):
    """A pair, and what is worth saying of it."""

    pairs: PairSet
    notes: list[str]
    mask: str  # name of its file
    command: str  # that makes the same pair of a folder with that file


def read_form(body: bytes) -> Form:
    """Return a form from its JSON. Raises: UserError with every value that it cannot have."""
    try:
        return Form.model_validate_json(body)
    except ValidationError as error:
        sent: Any = {}
        with contextlib.suppress(ValueError, RecursionError):
            sent = json.loads(body)
        raise UserError("this cannot be drawn", format_errors(error, sent, Form.model_json_schema(), "")) from error


@functools.lru_cache(maxsize=1)
def _loaded(found: Found, written: int, changes: tuple[tuple[str, str], ...], device: str | None) -> Generator:
    """Return a generator, the same as long as its folder was not written anew and nothing else was changed."""
    return load_generator(found.folder, device=device, **_values(dict(changes)))


def _values(settings: Mapping[str, str]) -> dict[str, Any]:
    return {name: value_of(text) for name, text in settings.items()}


def save_mask(form: Form, found: Found, folder: Path) -> str:
    """Write the mask of a form as the only file of a new folder and return its name.

    Raises: UserError for a drawing that is not of the generator's size and classes.
    """
    folder.mkdir()
    if form.file is not None:
        name = Path(form.name.replace("\\", "/").replace("\0", "")).name or DRAWN
        (folder / name).write_bytes(form.file)
        return name
    side = found.size_px
    labels = np.frombuffer(form.labels, np.uint8)
    if labels.size != side * side or labels.max() > len(found.classes):
        raise UserError(f"the drawing is none of {side}x{side} px for {', '.join(found.classes)}: load the page anew")
    write_mask(folder / DRAWN, labels.reshape(side, side), len(found.classes))
    return DRAWN


def draw(form: Form, offers: Offers, folder: Path, device: str | None = None) -> Drawn:
    """Write a pair set of one pair to folder/made and return it; the folder is empty before.

    Raises: UserError with the sentences of `generate`, for the mask, the settings, and when memory does not suffice.
    """
    if form.generator not in offers.found:
        raise UserError(f"there is no generator {one_line(form.generator)}: load the page anew")
    found = find_generator(offers.found[form.generator].folder, **_values(form.settings))
    reading, masks = reading_of(form.reading), folder / "masks"
    mask = save_mask(form, found, masks)
    try:
        wanted = Wanted(found.size_px, found.classes, how_to_read(reading, found.classes))
        _, notes = given_folder(masks, wanted)  # before any weights are read, and for the page to say
        written = (found.folder / "config.json").stat().st_mtime_ns
        generator = _loaded(found, written, tuple(sorted(form.settings.items())), device)
        pairs = generator.write(masks, folder / "made", form.seed, reading=reading)
    except UserError as error:
        raise UserError(_shown(error.title, masks), [_shown(line, masks) for line in error.problems]) from error
    return Drawn(pairs, [_shown(note, masks) for note in notes], mask, _command(form))


def _shown(text: str, masks: Path) -> str:
    """Return a sentence about a mask without the folder that it was put into."""
    return text.replace(f"{masks}/", "").replace(str(masks), "the mask")


def _command(form: Form) -> str:
    options = {"generator": str(GENERATORS / form.generator), "masks": "FOLDER", "out": "made", "seed": str(form.seed)}
    options |= {"reading": form.reading} if form.reading.strip() else {}
    options |= {name.replace("_", "-"): text for name, text in form.settings.items()}
    words = [word for name, text in options.items() for word in (f"--{name}", text)]
    return shlex.join(["siamese-pairs", "generate", *words])


def packed(pairs: PairSet) -> bytes:
    """Return a pair set as a zip of its files, which is the same bytes for the same pairs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in pairs.folder.rglob("*") if path.is_file()):
            name = path.relative_to(pairs.folder).as_posix()
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return file.getvalue()
