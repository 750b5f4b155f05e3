"""The user's params.yaml, kept while presets stand in its place, and put back also after a kill."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.files import write_text

PARAMS = Path("params.yaml")
FOLDER = Path(".work/own_params")
OWN = FOLDER / PARAMS.name
WRITTEN = FOLDER / "written"  # SHA-256 of every preset that has stood in its place, one a line


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _changed_meanwhile() -> bool:
    """Return whether params.yaml is neither the user's own of the start nor a preset that was put in its place."""
    now = PARAMS.read_bytes() if PARAMS.is_file() else b""
    return now != OWN.read_bytes() and _sha256(now) not in WRITTEN.read_text(encoding="utf-8").split()


def put_back() -> None:
    """Put the user's params.yaml back where a run of presets has left another; one that was edited since stays."""
    if not OWN.is_file():
        return
    if _changed_meanwhile():
        aside = FOLDER.parent / f"{PARAMS.name}.before"
        os.replace(OWN, aside)
        sys.stderr.write(f"{PARAMS}: was edited while presets ran, and stays so; as it was before: {aside}\n")
    elif OWN.read_bytes() != PARAMS.read_bytes():
        target = PARAMS.resolve()
        beside = target.with_name(f".{target.name}.own")
        shutil.copy2(OWN, beside)
        os.replace(beside, target)
        sys.stderr.write(f"{PARAMS}: is yours again\n")
    shutil.rmtree(FOLDER)


@contextmanager
def presets_in_place() -> Iterator[Callable[[str], None]]:
    """Yield what writes a preset's text to params.yaml; the user's own is back at the end, however that comes.

    After a kill `put_back` does it. Raises: UserError, at the next preset, when the user has edited it meanwhile.
    """
    put_back()
    if not PARAMS.is_file():
        raise UserError(f"{PARAMS}: no such file; run from the folder that holds it")
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_text(WRITTEN, "")
    beside = FOLDER / "own.new"
    shutil.copy2(PARAMS, beside)
    os.replace(beside, OWN)

    def stand_in(text: str) -> None:
        if _changed_meanwhile():
            what_to_do = "wait for their end, or end them, and edit then"
            raise UserError(f"{PARAMS} was edited while presets ran", [what_to_do])
        with WRITTEN.open("a", encoding="utf-8") as file:
            file.write(f"{_sha256(text.encode())}\n")
        write_text(PARAMS.resolve(), text)

    try:
        yield stand_in
    finally:
        put_back()
