"""doctor: look at a folder of pairs, name its layout and its faults, and print the row that reads it."""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from data.config_errors import validated
from data.pairs.errors import UserError
from data.pairs.image_io import BadImageError, write_image
from data.readers.config import Slices, Which, which_problems

EXAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("folder", type=Path, metavar="PATH")
    parser.add_argument("--layout", help="take this layout instead of the first that fits")
    parser.add_argument("--images", metavar="PATTERN", help='where the images are, such as "images/{id}.jpg"')
    parser.add_argument("--masks", metavar="PATTERN", help='where their masks are, such as "gt/{id}_seg.png"')
    parser.add_argument("--pairs", metavar="CSV", help="a table of image,mask[,split][,group][,id] in place of both")
    parser.add_argument("--slices", metavar="YAML", help="of volumes: '{axis: 2, window: [-160, 240], keep: lesion}'")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write a picture of 12 pairs with the outlines of their masks")


def _row_as_yaml(name: str, row: dict[str, Any]) -> str:
    text = io.StringIO()
    YAML().dump({"datasets": {name: row}}, text)
    return text.getvalue()


def _first(texts: Sequence[str], most: int, count: int) -> list[str]:
    more = [f"    and {count - most} more (--json lists all)"] if count > most else []
    return [f"    {text}" for text in texts[:most]] + more


def _report(result: dict[str, Any]) -> str:
    sizes, values = result["sizes"], result["mask_values"]
    splits = ", ".join(f"{name} {count}" for name, count in result["splits"].items())
    lines = [
        f"{result['folder']}: layout {result['layout']}, {result['pairs']} pairs ({splits}), "
        f"{result['unmatched']} files unmatched",
        f"sizes: {sizes['distinct']} distinct, sides from {sizes['min_side']} to {sizes['max_side']} px",
        f"masks: lesion {values['foreground_median_percent']} % of the image (median), "
        f"{values['grey_share_median_percent']} % of the pixels grey (median)",
        f"reading masks at > 0 would enlarge lesions by {values['inflation_gt0_median_percent']} % (median), "
        f"{values['inflation_gt0_max_percent']} % at most",
        *result["notes"],
        "",
    ]
    for fault in result["faults"]:
        lines.append(f"{fault['severity']}: {fault['count']} x {fault['code']}: {fault['text']}")
        lines += _first(fault["files"], EXAMPLES, fault["count"])
    lines += ["no faults found"] if not result["faults"] else []
    if stops := result["stops"]:
        lines += ["", "prepare would stop:", *_first(stops, 4 * EXAMPLES, len(stops))]
    if result["row"] is None:
        lines += ["", "No row for params.yaml can be suggested before that is mended."]
        return "\n".join(lines) + "\n"
    name = re.sub(r"[^a-z0-9]+", "-", Path(result["folder"]).resolve().name.lower()).strip("-") or "mine"
    lines += ["", f"The row for params.yaml{', once that is mended' if result['stops'] else ''}:", ""]
    return "\n".join(lines) + "\n" + _row_as_yaml(name, result["row"])


def _slices(text: str) -> Slices:
    """Return `slices` of a row from its text. Raises: UserError when it is none."""
    example = "--slices '{axis: 2, window: [-160, 240], keep: lesion}'"
    try:
        values = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise UserError(f"--slices: cannot be read, give such as {example}", str(error).splitlines()) from error
    return validated(Slices, values, f"--slices: give such as {example}")


def _which(folder: Path, item: Mapping[str, Any]) -> Which:
    """Return what the options say of which files are meant. Raises: UserError when they do not fit together."""
    table = item["pairs"] or ""
    if table and Path(table).is_file() and (Path(table).is_absolute() or not (folder / table).is_file()):
        table = os.path.relpath(table, folder)
    slices = _slices(item["slices"]) if item["slices"] else None
    which = Which(item["images"] or "", item["masks"] or "", table, slices)
    if problems := which_problems(which, item["layout"]):
        raise UserError("which files are meant is not clear", problems)
    return which


def run(item: dict[str, Any]) -> None:
    """Print the findings; write the picture of 12 overlays to `out` when it is given.

    Raises: UserError when the folder is missing, holds no pairs, the layout is unknown, the options do not fit, or
    `out` is a folder; SystemExit of 2 when `prepare` would refuse the row, or none can be suggested.
    """
    from data.doctor.doctor import examine, overlays  # cv2

    folder, as_json, out = item["folder"], item["json"], item["out"]
    if out and out.is_dir():
        raise UserError(f"--out {out} is a folder: name the picture to write, such as {out / 'look.png'}")
    result, drawable = examine(folder, item["layout"], _which(folder, item))
    if out and drawable:
        try:
            write_image(out, overlays(drawable, result["row"] or {}))
        except BadImageError as error:
            sys.stderr.write(f"no picture was drawn: {error}\n")
            out = None
    sys.stdout.write(json.dumps(result, indent=2) + "\n" if as_json else _report(result))
    if out and drawable and not as_json:
        sys.stdout.write(f"\n{min(12, len(drawable))} pairs with the outlines of their masks: {out}\n")
    if result["stops"]:
        raise SystemExit(2)
