"""ControlNet's JSON Lines, which the official code of Siamese-Diffusion reads: source is the mask, target the image."""

import json
from pathlib import Path

from data.exports.bundle import TRAIN, Bundle, copy_pair
from data.exports.formats import Options
from data.exports.readme import mask_values, write_readme
from data.pairs.errors import UserError
from data.pairs.files import write_text

HOW = """\
`prompt.json` lists the training pairs, one JSON object a line: `source` is the mask, `target` the image, `prompt` the
text; paths start at this folder. The other splits have files and folders of their own: `<split>.json`, `<split>/`.
"""


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write prompt.json with source/ and target/ for train, and <split>.json with <split>/source/ and so on.

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
    write_readme(folder / "README.md", bundle, f"{options.name}: ControlNet JSON Lines", HOW + mask_values(bundle))
