"""Export as an ImageFolder of Hugging Face datasets."""

import json
import re
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.export_common import VAL, Splits, about, copy_pair, progress, write_readme
from data.pairs.files import write_text


def _split_names(splits: Splits) -> dict[str, str]:
    """Return folder -> the name of the split in `datasets`, which allows letters, digits and underscores.

    Raises: UserError when two splits get the same name.
    """
    names = {split: "validation" if split == VAL else re.sub(r"\W", "_", split) for split in splits}
    twice = sorted(split for split, name in names.items() if list(names.values()).count(name) > 1)
    if twice:
        raise UserError("these splits get the same name in datasets: rename one of them", twice)
    return names


def write_imagefolder(splits: Splits, out: Path) -> None:
    """Write <split>/images, <split>/masks and <split>/metadata.jsonl: columns image, mask and what the manifest says.

    README.md lists the splits for `load_dataset`, which guesses only names such as train and test by itself.
    """
    names = _split_names(splits)
    for split, entries in splits.items():
        lines = []
        for entry in progress(entries, split):
            pair = copy_pair(entry, out / split)
            row = {"file_name": pair.image, "mask_file_name": pair.mask, **about(pair, entry.synthetic)}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        write_text(out / split / "metadata.jsonl", "".join(lines))
    files = [f"      - split: {name}\n        path: {json.dumps(f'{split}/**')}\n" for split, name in names.items()]
    header = "---\nconfigs:\n  - config_name: default\n    data_files:\n" + "".join(files) + "---\n"
    lines = [
        'Read it with `datasets.load_dataset("PATH/OF/THIS/FOLDER")`: `image` and `mask` are pictures (a mask is 0 or',
        "255), the other columns say where the pair comes from.",
    ]
    write_readme(out, "Image-mask pairs as an ImageFolder", lines, splits, header)
