"""The weight files of the paper's scores: where they lie, and whether they are what they should be."""

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from pydantic import Field, TypeAdapter
from ruamel.yaml import YAML

from data.pairs.config import Config
from data.pairs.errors import UserError
from data.pairs.files import sha256_file

VARIABLE = "METRIC_WEIGHTS"
MANIFEST = Path(__file__).with_name("weights.yaml")


class WeightFile(Config):
    """One file of the manifest."""

    path: str = Field(pattern=r"^[\w-]+(/[\w-][\w.-]*)+$", description="its place in the weights folder")
    url: str = Field(pattern=r"^https?://\S+$", description="where it is downloaded")
    page: str = Field(description="where a person finds it and its terms")
    size_bytes: int = Field(ge=1, description="to tell how long it takes; only the hash is checked")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="what the file is held to")
    extractor: str = Field(description="the name in scores.extractors that needs it")
    used_for: str = Field(description="the scores that need it")
    licence: str = Field(description="its terms in a sentence")

    @property
    def name(self) -> str:
        """Return the plain name of the file on disk."""
        return PurePosixPath(self.path).name


WEIGHTS: dict[str, WeightFile] = TypeAdapter(dict[str, WeightFile]).validate_python(
    YAML(typ="safe").load(MANIFEST.read_text(encoding="utf-8"))
)


class Found(NamedTuple):
    """A weight file as it lies on disk."""

    state: Literal["present", "missing", "altered"]
    path: Path
    sha256: str | None  # None if it is missing


def weights_folder(weights_dir: str) -> Path:
    """Return the folder of the weights: the variable METRIC_WEIGHTS, or else what params.yaml says."""
    return Path(os.environ.get(VARIABLE) or weights_dir).expanduser()


def fetch_command(names: Iterable[str]) -> str:
    """Return the command that fetches these files to the folder that the stages read."""
    return f"python -m pipeline weights {' '.join(names)} --fetch"


def megabytes(file: WeightFile) -> str:
    """Return the size of a file for people."""
    return f"{file.size_bytes / 1e6:.0f} MB"


def look(file: WeightFile, folder: Path) -> Found:
    """Return whether a file is there and is the right one.

    Raises: UserError when the file cannot be read.
    """
    path = folder / file.path
    if not path.is_file():
        return Found("missing", path, None)
    try:
        sha256 = sha256_file(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return Found("present" if sha256 == file.sha256 else "altered", path, sha256)


def require(names: Iterable[str], folder: Path, also: Iterable[str] = ()) -> dict[str, Path]:
    """Return the path of each named weight file, all of them there and of the expected hash.

    Files of `also` are not needed: those that are missing are told with the others, to be fetched at once.

    Raises: UserError that lists every missing or altered file with the commands that fetch it.
    """
    found = {name: look(WEIGHTS[name], folder) for name in names}
    wrong = {name: one for name, one in found.items() if one.state != "present"}
    if wrong:
        others = {name: folder / WEIGHTS[name].path for name in also if name not in found}
        spare = {name: Found("missing", path, None) for name, path in others.items() if not path.is_file()}
        lines = _lines(wrong)
        if spare:
            lines += ["missing too, for the other scores of the paper:", *_lines(spare)]
        lines += [
            f"all of them: {fetch_command([*wrong, *spare])}",
            f"or point the variable {VARIABLE} at a folder that has them",
            "or set scores.extractors: [lite0] in params.yaml, which needs no download; nothing falls back to it by "
            "itself",
        ]
        raise UserError(f"weight files missing or altered in {folder}: {', '.join(wrong)}", lines)
    return {name: one.path for name, one in found.items()}


def _lines(files: Mapping[str, Found]) -> list[str]:
    lines = []
    for name, (_, path, sha256) in files.items():
        file = WEIGHTS[name]
        state = f"altered (SHA-256 {sha256}, expected {file.sha256})" if sha256 else "missing"
        lines.append(f"{name} is {state}: {path}, {megabytes(file)}, for {file.used_for}")
        lines += [f"  {fetch_command([name])}", elsewhere(file, path)]
    return lines


def elsewhere(file: WeightFile, path: Path) -> str:
    """Return the line that says how to get a file without a network here."""
    curl = shlex.join(["curl", "--fail", "--location", "--output", file.name, file.url])
    return f"  or on another machine, to be copied to {path.parent}: {curl}"
