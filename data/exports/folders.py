"""Formats of PNG files in folders, with a list that says which belong together."""

import json
from dataclasses import replace
from pathlib import Path

from data.exports.bundle import TRAIN, VAL, Bundle, copy_pair, facts, mask_values, safe_names, write_readme
from data.exports.formats import Options
from data.pairs.errors import UserError
from data.pairs.files import write_text
from data.pairs.manifest import complete, file_names, write_manifest

TASK = "task_categories:\n- image-segmentation\n"  # as the Hugging Face Hub names it
OF_PAIRS = """\
One folder a split: `images/<id>.png` (RGB), `masks/<id>.png` of the same id, and `manifest.csv` with one row a pair:
source, parent, group, domain, seed, hashes.
"""
OF_JSONL = """\
`prompt.json` lists the training pairs, one JSON object a line: `source` is the mask, `target` the image, `prompt` the
text; paths start at this folder. The other splits have files and folders of their own: `<split>.json`, `<split>/`.
"""
OF_IMAGEFOLDER = """\
    datasets.load_dataset("PATH OF THIS FOLDER")

gives the columns `image` and `mask` with all that `metadata.jsonl` says of a pair. The header of this file names the
splits. `load_dataset("imagefolder", data_dir=...)` does not read it and puts all test sets into one split `test`.
`hf upload YOU/NAME . --repo-type dataset` puts the folder on the Hugging Face Hub; see the terms first.

"""


def pairs(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write pair sets as this project reads them: <split>/images/<id>.png, <split>/masks/<id>.png, manifest.csv."""
    for split, items in bundle.splits.items():
        rows = []
        for item in items:
            image, mask = file_names(item.id)
            copy_pair(item, folder / split, image, mask)
            row = replace(item.pair, id=item.id, image=image, mask=mask, split=split)
            rows.append(complete(folder / split, replace(row, parent=item.parent, donor=item.donor)))
        write_manifest(folder / split, rows)
    write_readme(folder / "README.md", bundle, f"{options.name}: image-mask pairs", OF_PAIRS + mask_values(bundle))


def jsonl(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write ControlNet's JSON Lines, which the official code of Siamese-Diffusion reads.

    prompt.json lists source/ (masks) and target/ (images) of train, <split>.json those in <split>/.

    Raises: UserError for a split that is named like one of these.
    """
    taken = sorted({"prompt", "source", "target"} & set(bundle.splits))
    if taken:
        raise UserError(f"jsonl has files or folders of its own with the names of the splits {taken}: rename them")
    for split, items in bundle.splits.items():
        place, listing = ("", "prompt.json") if split == TRAIN else (f"{split}/", f"{split}.json")
        lines = []
        for item in items:
            source, target = f"{place}source/{item.id}.png", f"{place}target/{item.id}.png"
            copy_pair(item, folder, target, source)
            row = {"source": source, "target": target, "prompt": options.prompt, "split": split}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        write_text(folder / listing, "".join(lines))
    title = f"{options.name}: ControlNet JSON Lines"
    write_readme(folder / "README.md", bundle, title, OF_JSONL + mask_values(bundle))


def imagefolder(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write Hugging Face ImageFolder: <split>/metadata.jsonl, images/ and masks/, and README.md with its header.

    The splits are train, validation, test or test_<name>, without the "-" that is refused there.
    """
    named = {TRAIN: "train", VAL: "validation"}
    wanted = [named.get(split, split if split.startswith("test") else f"test_{split}") for split in bundle.splits]
    names = safe_names([name.replace("-", "_") for name in wanted])
    for name, items in zip(names, bundle.splits.values(), strict=True):
        lines = []
        for item in items:
            image, mask = file_names(item.id)
            copy_pair(item, folder / name, image, mask)
            lines.append(json.dumps({"file_name": image, "mask_file_name": mask, **facts(item)}) + "\n")
        write_text(folder / name / "metadata.jsonl", "".join(lines))
    files = "".join(f"  - split: {name}\n    path: {name}/**\n" for name in names)
    header = f"---\n{TASK}configs:\n- config_name: default\n  data_files:\n{files}---\n\n"
    how = OF_IMAGEFOLDER + mask_values(bundle)
    write_readme(folder / "README.md", bundle, f"{options.name}: ImageFolder", how, header)
