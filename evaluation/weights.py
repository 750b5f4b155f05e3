"""The weight files of the full profile: where they lie, where they come from, whether they are what they should be."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.files import sha256_file, write_text

VARIABLE = "METRIC_WEIGHTS"


@dataclass(frozen=True)
class WeightFile:
    """One file: its place in the weights folder, its source, and the start of its SHA-256 (None: not known to us)."""

    path: str
    url: str
    size: str
    sha256: str | None


HUGGING_FACE = "https://huggingface.co/timm/{}/resolve/main/open_clip_model.safetensors"
WEIGHTS = {
    "inception": WeightFile(
        "torch/hub/checkpoints/weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "91 MiB",
        "6726825d",
    ),
    "clip_b32": WeightFile(
        "clip/ViT-B-32-openai.safetensors",
        HUGGING_FACE.format("vit_base_patch32_clip_224.openai"),
        "605 MB",
        None,
    ),
    "clip_l336": WeightFile(
        "clip/ViT-L-14-336-openai.safetensors",
        HUGGING_FACE.format("vit_large_patch14_clip_336.openai"),
        "1.7 GB",
        None,
    ),
    "alexnet": WeightFile(
        "torch/hub/checkpoints/alexnet-owt-7be5be79.pth",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "233 MiB",
        "7be5be79",
    ),
}


def weights_folder(weights_dir: str) -> Path:
    """Return the folder of the weights: the variable METRIC_WEIGHTS, or else what params.yaml says."""
    return Path(os.environ.get(VARIABLE) or weights_dir)


def curl(file: WeightFile, path: Path) -> str:
    """Return the command that fetches a file to its place."""
    return f"curl --fail --location --create-dirs --output '{path}' {file.url}"


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _expected(file: WeightFile, path: Path) -> str | None:
    if file.sha256 is None and _record(path).is_file():
        return _record(path).read_text(encoding="utf-8").split(maxsplit=1)[0]
    return file.sha256


def _problem(file: WeightFile, path: Path) -> str | None:
    if not path.is_file():
        return f"{path} is missing ({file.size}): {curl(file, path)}"
    found, expected = sha256_file(path), _expected(file, path)
    if expected is None:
        # A folder that cannot be written to cannot be altered by accident either.
        with contextlib.suppress(OSError):
            write_text(_record(path), f"{found}  {path.name}\n")
    elif not found.startswith(expected):
        return f"{path} is altered (SHA-256 {found[:16]}, expected {expected[:16]}; {file.size}): {curl(file, path)}"
    return None


def require(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Return the path of each named weight file, all of them there and of the expected hash.

    The hash of a file that has no published one is recorded beside it, in the format of `sha256sum`, when the file is
    first used.

    Raises: UserError that lists every missing or altered file with the command that fetches it.
    """
    paths = {name: folder / WEIGHTS[name].path for name in names}
    problems = [problem for name, path in paths.items() if (problem := _problem(WEIGHTS[name], path))]
    if problems:
        ways_out = (
            f"fetch them with the commands above, on any machine, and copy them to {folder};",
            f"or point the variable {VARIABLE} at a folder that has them;",
            "or set scores.profile: demo in params.yaml, which needs no weights",
        )
        raise UserError(f"scores.profile full lacks {len(problems)} weight files", [*problems, *ways_out])
    return paths
