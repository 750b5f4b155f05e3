"""baseline: the pair sets that need no generator of ours: nothing, the real pairs once more, changed, or imported."""

from collections.abc import Callable

from data.baselines.augmented import write_augmented
from data.baselines.cut_paste import write_cut_paste
from data.baselines.imported import write_imported
from data.pairs.assemble import write_duplicate
from data.pairs.files import whole_folder
from data.pairs.manifest import PairSet, write_manifest
from data.pairs.prepared import Prepared
from pipeline.params import paths

READS = {"row": "baselines.{source}"}
# kind -> writes the pair set of a row, by its name, to a folder; `splits` are the real pairs by split
KINDS: dict[str, Callable[..., PairSet]] = {
    "real": lambda splits, name, row, out: write_manifest(out, []),
    "duplicate": lambda splits, name, row, out: write_duplicate(splits["train"], out),
    "augment": lambda splits, name, row, out: write_augmented(splits["train"], name, row, out),
    "cut_paste": lambda splits, name, row, out: write_cut_paste(splits["train"], name, row, out),
    "imported": lambda splits, name, row, out: write_imported(splits.pop("train"), name, row, out, splits),
}


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<source>-real/.

    Raises: UserError when imported pairs cannot be used, or no lesion can be cut.
    """
    splits = Prepared(paths.processed(item["dataset"])).splits()
    with whole_folder(paths.samples(item["dataset"], item["source"], "real")) as out:
        KINDS[params.row.kind](splits, item["source"], params.row, out)
