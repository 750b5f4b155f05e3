"""baseline: the pair sets that need no generator of ours: nothing, the real pairs once more, changed, or imported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.pairs.assemble import write_duplicate, write_empty
from data.pairs.files import whole_folder
from data.pairs.manifest import MANIFEST, PairSet, read_pairs
from pipeline.params import paths

READS = {"row": "baselines.{source}"}
HeldOut = dict[str, PairSet]


def _augment(name: str, row: Any, real: PairSet, _held_out: HeldOut, out: Path) -> PairSet:
    from data.baselines.augmented import write_augmented

    return write_augmented(real, name, row, out)


def _cut_paste(name: str, row: Any, real: PairSet, _held_out: HeldOut, out: Path) -> PairSet:
    from data.baselines.cut_paste import write_cut_paste

    return write_cut_paste(real, name, row, out)


def _imported(name: str, row: Any, real: PairSet, held_out: HeldOut, out: Path) -> PairSet:
    from data.baselines.imported import write_imported

    return write_imported(real, name, row, out, held_out)


# kind -> writes the pair set of a row to a folder
KINDS: dict[str, Callable[[str, Any, PairSet, HeldOut, Path], PairSet]] = {
    "real": lambda _name, _row, _real, _held_out, out: write_empty(out),
    "duplicate": lambda _name, _row, real, _held_out, out: write_duplicate(real, out),
    "augment": _augment,
    "cut_paste": _cut_paste,
    "imported": _imported,
}


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<source>-real/.

    Raises: UserError when imported pairs cannot be used, or no lesion can be cut.
    """
    root = paths.processed(item["dataset"])
    splits = {path.parent.name: read_pairs(path.parent) for path in sorted(root.glob(f"*/{MANIFEST}"))}
    real = splits.pop("train")
    with whole_folder(paths.samples(item["dataset"], item["source"], "real")) as out:
        KINDS[params.row.kind](item["source"], params.row, real, splits, out)
