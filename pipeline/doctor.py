"""doctor: look at a folder of pairs, name its layout and its faults, and print the row that reads it."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError

EXAMPLES = 3


def _row_as_yaml(name: str, row: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2)
    yaml.dump({"datasets": {name: row}}, text)
    return text.getvalue()


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
        lines += [f"    {text}" for text in fault["files"][:EXAMPLES]]
        if fault["count"] > EXAMPLES:
            lines.append(f"    and {fault['count'] - EXAMPLES} more (--json lists all)")
    name = re.sub(r"[^a-z0-9]+", "-", Path(result["folder"]).resolve().name.lower()).strip("-") or "mine"
    lines += ["no faults found" if not result["faults"] else "", "The row for params.yaml:", ""]
    return "\n".join(lines) + "\n" + _row_as_yaml(name, result["row"])


def run(folder: Path, layout: str | None, as_json: bool, out: Path | None) -> None:
    """Print the findings; write the picture of 12 overlays to `out` when it is given.

    Raises: UserError when the folder is missing, holds no pairs, or the layout is unknown, or `out` is a folder.
    """
    from data.pairs.doctor import examine, overlays
    from data.pairs.image_io import BadImageError, write_image

    if out and out.is_dir():
        raise UserError(f"--out {out} is a folder: name the picture to write, such as {out / 'look.png'}")
    result, drawable = examine(folder, layout)
    if out and drawable:
        try:
            write_image(out, overlays(drawable, result["row"]))
        except BadImageError as error:
            sys.stderr.write(f"no picture was drawn: {error}\n")
            out = None
    sys.stdout.write(json.dumps(result, indent=2) + "\n" if as_json else _report(result))
    if out and drawable and not as_json:
        sys.stdout.write(f"\n{min(12, len(drawable))} pairs with the outlines of their masks: {out}\n")
