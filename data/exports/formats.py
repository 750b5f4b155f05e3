"""The formats that pair sets are exported to, by name, and the export itself."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.pairs.errors import UserError
from data.pairs.files import whole_folder

if TYPE_CHECKING:
    from data.exports.bundle import Bundle
    from data.pairs.manifest import PairSet

# name -> module and function(bundle, folder, options); loaded when used, so that the command line can list the names at
# once
FORMATS = {
    "pairs": ("folders", "pairs"),
    "nnunet": ("nnunet", "write"),
    "imagefolder": ("folders", "imagefolder"),
    "webdataset": ("webdataset", "write"),
    "coco": ("coco", "write"),
    "jsonl": ("folders", "jsonl"),
}


@dataclass(frozen=True)
class Options:
    """Each format reads what it needs."""

    name: str  # of the data set, in titles and folder names
    dataset_id: int = 501  # nnU-Net's number of the data set
    folds: int = 5  # of nnU-Net's cross-validation
    seed: int = 0  # deals the real training pairs into folds
    shard_pairs: int = 1000  # most pairs in one WebDataset archive
    prompt: str = ""  # text of every line of ControlNet's JSON Lines


def export(
    format_name: str, real: Mapping[str, "PairSet"], added: Sequence["PairSet"], out_dir: Path, options: Options
) -> "Bundle":
    """Write the pairs in a format to out_dir, which appears whole or not at all, and return what was written.

    Raises: UserError when out_dir holds something, when the pairs cannot be exported together or their files are not
    those of their manifests, for the mask of a held-out pair, and when an option does not fit the format.
    """
    from data.exports.bundle import collect
    from data.exports.leaks import refuse_leaks
    from data.exports.verify import verify

    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise UserError(f"{out_dir} is there already: name another folder or remove it")
    bundle = collect(real, added)
    for pair_set in (*real.values(), *added):
        verify(pair_set)
    refuse_leaks(real, added)
    module, function = FORMATS[format_name]
    write = getattr(importlib.import_module(f"data.exports.{module}"), function)
    try:
        with whole_folder(out_dir.resolve()) as folder:
            write(bundle, folder, options)
    except OSError as error:
        raise UserError(f"{out_dir} cannot be written: {error}") from error
    return bundle
