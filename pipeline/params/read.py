"""params.yaml read and checked as a whole, before anything runs; of an earlier version, refused with its new lines."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import ValidationError

from data.pairs.errors import UserError, one_line
from pipeline.params.blocks import REFERENCES
from pipeline.params.checks import check_lists, check_values
from pipeline.params.errors import dangling, format_errors
from pipeline.params.presets import composed
from pipeline.params.schema import Params
from pipeline.params.yaml_text import load_yaml, mapping

MOST_LINES = 100  # of one error
# option -> its rows
ROWS = {
    "download": "downloads",
    "dataset": "datasets",
    "generator": "generators",
    "architecture": "architectures",
    "filter": "filters",
}
# before there were three blocks
EARLIER = ("second", "third", "other_masks", "second_volume")
KEYS = {
    "comparison": ("datasets", "references", "baselines", "generators", "masks", "architectures", "seeds"),
    "volume": ("datasets", "generators", "masks", "multiples", "architectures", "seeds"),
    "filtered": ("datasets", "generators", "masks", "filters", "architectures", "seeds"),
}
Block = dict[str, list]


class EarlierBlocksError(UserError):
    """The lines of its problems are printed as they are, to be pasted."""

    def __str__(self) -> str:
        return "\n".join([self.title, *self.problems])


def read_params(path: Path) -> Params:
    """Return the whole of params.yaml, checked.

    Raises: UserError with one line for each problem: where it is, what was found, what is allowed, the nearest name.
    """
    return check_text(composed(path), path)


def check_text(text_of_file: str, path: Path) -> Params:
    """Return what a text says as `read_params` does; `path` is what errors call it."""
    data = load_yaml(text_of_file, path)
    refuse_earlier_blocks(data, path)
    problems = list(check_lists(data))
    try:
        # Through JSON, where strict mode takes lists for tuples and still no text for numbers.
        params = Params.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems = [*format_errors(error, data, Params.model_json_schema()), *problems]
    else:
        problems = problems or list(check_values(params))
        if not problems:
            return params
    shown = problems[:MOST_LINES] + [f"and {len(problems) - MOST_LINES} more"] * (len(problems) > MOST_LINES)
    raise UserError(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", shown)


def load_params(reads: Mapping[str, str], item: Mapping[str, Any], path: Path = Path("params.yaml")) -> SimpleNamespace:
    """Return only the sections that a stage declares in its READS, after checking the whole file.

    `reads` maps a short name to a dotted key with {placeholders} for the item, the same key that dvc.yaml tracks.

    Raises: UserError as `read_params`, and for a name on the command line that has no row.
    """
    params = read_params(path)
    for option, section in ROWS.items():
        rows = getattr(params, section)
        if option in item and item[option] not in rows:
            raise UserError(dangling(f"--{option}", item[option], rows))
    found = {}
    for name, template in reads.items():
        value: Any = params
        for part in template.format(**item).split("."):
            known = value if isinstance(value, dict) else type(value).model_fields
            if part not in known:
                raise UserError(dangling(template, part, known))
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        found[name] = value
    return SimpleNamespace(**found)


def refuse_earlier_blocks(data: Any, path: Path) -> None:
    """Raises: EarlierBlocksError with the new lines, when a file has blocks of an earlier version."""
    data = mapping(data)
    comparison = mapping(data.get("comparison"))
    unsorted = "references" not in comparison and set(REFERENCES) & set(_block(comparison)["baselines"])
    if not (set(EARLIER) & set(data) or "scored_baselines" in comparison or unsorted):
        return
    files = list(_new_files(data))
    old = [name for name in ("comparison", *EARLIER, "volume", "filtered") if name in data]
    title = f"{path}: is of an earlier version: put these lines in the place of {', '.join(old)}"
    if len(files) == 1:
        raise EarlierBlocksError(title, ["", *files[0]])
    title += f"; it becomes {len(files)} files, to be run in turn: what they share is computed once"
    numbered = (["", f"# file {number} of {len(files)}", *lines] for number, lines in enumerate(files, 1))
    raise EarlierBlocksError(title, [line for lines in numbered for line in lines])


def _block(value: Any) -> Block:
    """Return the lists of a block by key, without what is no name or number."""
    keys = dict.fromkeys(["scored_baselines", *(key for keys in KEYS.values() for key in keys)])
    lists = {key: items if isinstance(items := mapping(value).get(key), list) else [] for key in keys}
    return {key: [item for item in items if isinstance(item, str | int)] for key, items in lists.items()}


def _new_files(data: Mapping) -> Iterator[list[str]]:
    """Yield the lines of the three blocks of each file that an earlier one becomes, with what to know of them."""
    comparisons = [_block(data.get(name)) for name in ("comparison", "second", "third")]
    for comparison in [block for block in comparisons if block["datasets"]] or comparisons[:1]:
        notes = [f"# {name} is not scored any more" for name in comparison["scored_baselines"] if name in REFERENCES]
        comparison["references"] = [name for name in comparison["baselines"] if name in REFERENCES]
        comparison["baselines"] = [name for name in comparison["baselines"] if name not in REFERENCES]
        volumes = _volumes(data, comparison, notes) or [_block({})]
        filtered = _within("filtered", data, comparison, notes) or _block({})
        if lost := [name for name in filtered["masks"] if name not in comparison["masks"]]:
            notes.append(f"# filtered.masks: without {', '.join(map(str, lost))}, whose sets are not scored any more")
            filtered["masks"] = [name for name in filtered["masks"] if name not in lost]
        yield [*notes, *_lines(comparison, volumes[0], filtered)]
        for volume in volumes[1:]:
            yield _lines(comparison, volume, _block({}))


def _volumes(data: Mapping, comparison: Block, notes: list[str]) -> list[Block]:
    """Return what becomes of other_masks and the volumes of a comparison, whose masks may grow."""
    volumes: list[Block] = []
    for name in ("other_masks", "volume", "second_volume"):
        block = _within(name, data, comparison, notes)
        if block is None:
            continue
        if name == "other_masks":
            block["multiples"] = [1]
            if all(block[key] == comparison[key] for key in ("datasets", "generators", "architectures", "seeds")):
                comparison["masks"] += block["masks"]
                continue
            notes.append(f"# with the masks {', '.join(block['masks'])}: trained on, and not scored any more")
        same = next((volume for volume in volumes if volume | {"multiples": block["multiples"]} == block), None)
        if same:
            same["multiples"] = sorted({*same["multiples"], *block["multiples"]})
        else:
            volumes.append(block)
    return volumes


def _within(name: str, data: Mapping, comparison: Block, notes: list[str]) -> Block | None:
    """Return a block for the data sets of a comparison alone; None where nothing is left of it."""
    block, rows = _block(data.get(name)), mapping(data.get("architectures"))
    known = {*comparison["architectures"], *(key for key in rows if mapping(rows[key]).get("real_pairs") is False)}
    lost = [key for key in block["architectures"] if key not in known]
    block["datasets"] = [dataset for dataset in block["datasets"] if dataset in comparison["datasets"]]
    if not all(block[key] for key in ("datasets", "generators", "masks", "architectures")):
        return None
    if lost:
        without = ", ".join(map(str, lost))
        notes.append(f"# {name}.architectures: without {without}, which the comparison of its data sets lacks")
        block["architectures"] = [key for key in block["architectures"] if key in known]
    return block if block["architectures"] else None


def _lines(*blocks: Block) -> list[str]:
    """Return the lines of the three blocks."""
    lines = []
    for (name, keys), block in zip(KEYS.items(), blocks, strict=True):
        lists = [f"{key}: [{', '.join(one_line(str(item)) for item in block[key])}]" for key in keys]
        lines += (
            [f"{name}:", *(f"  {line}" for line in lists)] if block["datasets"] else [f"{name}: {{{', '.join(lists)}}}"]
        )
    return lines
