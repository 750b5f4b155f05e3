"""The blocks of params.yaml before there were three, refused with the lines that take their place."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError, one_line
from pipeline.params.blocks import REFERENCES

GONE = ("second", "third", "other_masks", "second_volume")
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


def refuse_earlier_blocks(data: Any, path: Path) -> None:
    """Raises: EarlierBlocksError with the new lines, when a file has blocks of an earlier version."""
    comparison = _mapping(_mapping(data).get("comparison"))
    unsorted = "references" not in comparison and set(REFERENCES) & set(_block(data, "comparison")["baselines"])
    if not (set(GONE) & set(_mapping(data)) or "scored_baselines" in comparison or unsorted):
        return
    files = [list(_text(*blocks)) for blocks in _files(_mapping(data))]
    old = [name for name in ("comparison", *GONE, "volume", "filtered") if name in data]
    lines = [f"{path}: is of an earlier version: put these lines in the place of {', '.join(old)}"]
    if len(files) > 1:
        lines[0] += f"; it becomes {len(files)} files, to be run in turn: what they share is computed once"
    for number, text in enumerate(files, 1):
        lines += ["", *([f"# file {number} of {len(files)}"] if len(files) > 1 else []), *text]
    raise EarlierBlocksError(lines[0], lines[1:])


def _mapping(value: Any) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _block(data: Any, name: str) -> Block:
    """Return the lists of a block by key, without what is no name or number."""
    block = _mapping(_mapping(data).get(name))
    lists: Block = {key: [] for keys in KEYS.values() for key in (*keys, "scored_baselines")}
    for key in lists:
        if isinstance(items := block.get(key), list):
            lists[key] = [item for item in items if isinstance(item, str | int)]
    return lists


def _files(data: Mapping) -> Iterator[tuple[Block, Block, Block, list[str]]]:
    """Yield comparison, volume, filtered and what to know of them, for each file that an earlier one becomes."""
    comparisons = [_block(data, name) for name in ("comparison", "second", "third")]
    for comparison in [block for block in comparisons if block["datasets"]] or comparisons[:1]:
        notes = [f"# {name} is not scored any more" for name in comparison["scored_baselines"] if name in REFERENCES]
        comparison["references"] = [name for name in comparison["baselines"] if name in REFERENCES]
        comparison["baselines"] = [name for name in comparison["baselines"] if name not in REFERENCES]
        volumes = _volumes(data, comparison, notes)
        filtered = _within("filtered", data, comparison, notes) or _block({}, "")
        if lost := [name for name in filtered["masks"] if name not in comparison["masks"]]:
            notes.append(f"# filtered.masks: without {', '.join(map(str, lost))}, whose sets are not scored any more")
            filtered["masks"] = [name for name in filtered["masks"] if name not in lost]
        yield comparison, volumes[0], filtered, notes
        for volume in volumes[1:]:
            yield comparison, volume, _block({}, ""), []


def _volumes(data: Mapping, comparison: Block, notes: list[str]) -> list[Block]:
    """Return what becomes of other_masks and the volumes of a comparison, at least one; its masks may grow."""
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
        others = [key for key in KEYS["volume"] if key != "multiples"]
        same = [volume for volume in volumes if all(volume[key] == block[key] for key in others)]
        if same:
            same[0]["multiples"] = sorted({*same[0]["multiples"], *block["multiples"]})
        else:
            volumes.append(block)
    return volumes or [_block({}, "")]


def _within(name: str, data: Mapping, comparison: Block, notes: list[str]) -> Block | None:
    """Return a block for the data sets of a comparison alone; None where nothing is left of it."""
    block, rows = _block(data, name), _mapping(data.get("architectures"))
    alone = [key for key, row in rows.items() if _mapping(row).get("real_pairs") is False]
    block["datasets"] = [dataset for dataset in block["datasets"] if dataset in comparison["datasets"]]
    lost = [key for key in block["architectures"] if key not in (*comparison["architectures"], *alone)]
    if not all(block[key] for key in ("datasets", "generators", "masks", "architectures")):
        return None
    if lost:
        notes.append(
            f"# {name}.architectures: without {', '.join(map(str, lost))}, which the comparison of its data sets lacks"
        )
        block["architectures"] = [key for key in block["architectures"] if key not in lost]
    return block if block["architectures"] else None


def _text(comparison: Block, volume: Block, filtered: Block, notes: Sequence[str]) -> Iterator[str]:
    """Yield the lines of three blocks."""
    yield from notes
    for name, block in {"comparison": comparison, "volume": volume, "filtered": filtered}.items():
        lists = [f"{key}: [{', '.join(one_line(str(item)) for item in block[key])}]" for key in KEYS[name]]
        if block["datasets"]:
            yield from [f"{name}:", *(f"  {line}" for line in lists)]
        else:
            yield f"{name}: {{{', '.join(lists)}}}"
