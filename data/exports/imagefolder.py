"""Hugging Face ImageFolder: a folder a split with metadata.jsonl, images/ and masks/."""

import json
from pathlib import Path

from data.exports.bundle import TRAIN, VAL, Bundle, copy_pair, facts, safe_names
from data.exports.formats import Options
from data.exports.readme import mask_values, write_readme
from data.pairs.files import write_text
from data.pairs.manifest import file_names

HOW = """\
    datasets.load_dataset("PATH OF THIS FOLDER")

gives the columns `image` and `mask` with all that `metadata.jsonl` says of a pair. The header of this file names the
splits. `load_dataset("imagefolder", data_dir=...)` does not read it and puts all test sets into one split `test`.

"""


def split_names(splits: list[str]) -> dict[str, str]:
    """Return split -> its name here: train, validation, test or test_<name>, without the "-" that is refused there."""
    named = {TRAIN: "train", VAL: "validation"}
    names = [named.get(split, split if split.startswith("test") else f"test_{split}") for split in splits]
    return dict(zip(splits, safe_names([name.replace("-", "_") for name in names]), strict=True))


def _header(names: list[str]) -> str:
    files = "".join(f"  - split: {name}\n    path: {name}/**\n" for name in names)
    return f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write <split>/metadata.jsonl, <split>/images/<id>.png, <split>/masks/<id>.png and README.md with its header."""
    names = split_names(list(bundle.splits))
    for split, items in bundle.splits.items():
        place = folder / names[split]
        lines = []
        for item in items:
            image, mask = file_names(item.id)
            copy_pair(item, place, image, mask)
            lines.append(json.dumps({"file_name": image, "mask_file_name": mask, **facts(item)}) + "\n")
        write_text(place / "metadata.jsonl", "".join(lines))
    how, header = HOW + mask_values(bundle), _header(list(names.values()))
    write_readme(folder / "README.md", bundle, f"{options.name}: ImageFolder", how, header)
