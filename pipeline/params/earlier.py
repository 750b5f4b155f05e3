"""What a params.yaml of an earlier version becomes: the lines that take its place, printed to be pasted."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError, one_line
from pipeline.params.blocks import BLOCKS, REFERENCES
from pipeline.params.yaml_text import mapping

SEED = "seed"  # of training, before a generator could have several
EARLIER = ("second", "third", "other_masks", "second_volume")  # before there were three blocks
KEYS = {
    "comparison": (
        "datasets",
        "references",
        "baselines",
        "generators",
        "generator_seeds",
        "masks",
        "architectures",
        "seeds",
    ),
    "volume": ("datasets", "generators", "generator_seeds", "masks", "multiples", "architectures", "seeds"),
    "filtered": ("datasets", "generators", "generator_seeds", "masks", "filters", "architectures", "seeds"),
}
Block = dict[str, list]


class EarlierBlocksError(UserError):
    """The lines of its problems are printed as they are, to be pasted."""

    def __str__(self) -> str:
        return "\n".join([self.title, *self.problems])


def refuse_earlier(data: Any, path: Path) -> None:
    """Raises: EarlierBlocksError with the new lines, when a file has blocks or a key of an earlier version."""
    data = _with_generator_seeds(mapping(data))
    _refuse_earlier_blocks(data, path)
    if SEED in mapping(data.get("training")):
        title = f"{path}: is of an earlier version: remove training.seed, and put these lines into the blocks"
        lists = {name: _block(data[name])["generator_seeds"] for name in BLOCKS if name in data}
        lines = (line for name, seeds in lists.items() for line in (f"{name}:", f"  generator_seeds: {seeds}"))
        raise EarlierBlocksError(title, ["", *lines])


def _with_generator_seeds(data: Mapping) -> Mapping:
    """Return the file with what was training.seed in every block that has generators and no seeds of theirs."""
    seed = mapping(data.get("training")).get(SEED, 0)
    blocks = {name: mapping(data[name]) for name in (*BLOCKS, *EARLIER) if name in data}
    default = {name: {"generator_seeds": [seed] if block.get("generators") else []} for name, block in blocks.items()}
    return {**data, **{name: {**default[name], **block} for name, block in blocks.items()}}


def _refuse_earlier_blocks(data: Mapping, path: Path) -> None:
    comparison = mapping(data.get("comparison"))
    unsorted = "references" not in comparison and set(REFERENCES) & set(_block(comparison)["baselines"])
    if not (set(EARLIER) & set(data) or "scored_baselines" in comparison or unsorted):
        return
    files = list(_new_files(data))
    old = [name for name in ("comparison", *EARLIER, "volume", "filtered") if name in data]
    without = "remove training.seed, and " if SEED in mapping(data.get("training")) else ""
    title = f"{path}: is of an earlier version: {without}put these lines in the place of {', '.join(old)}"
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
