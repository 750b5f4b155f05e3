"""baseline: pair sets without a generator of ours: none, real pairs again, changed, pseudo-labelled, or imported."""

from collections.abc import Callable
from pathlib import Path

from data.baselines.augmented import write_augmented
from data.baselines.cut_paste import write_cut_paste
from data.baselines.imported import write_imported
from data.pairs.assemble import write_duplicate
from data.pairs.files import whole_folder
from data.pairs.manifest import PairSet, write_manifest
from data.pairs.prepared import Prepared, read_lone_images
from pipeline.params import paths

READS = {"row": "baselines.{source}", "judge": "judge"}


def _write_pseudo(splits: dict[str, PairSet], name: str, row, out: Path, judge, dataset: str) -> PairSet:
    from segmentation.training.pseudo import write_pseudo_pairs

    return write_pseudo_pairs(splits["train"], read_lone_images(paths.unlabelled(dataset)), judge, name, out)


# kind -> writes the pair set of a row, by its name, to a folder; `splits` are the real pairs by split
KINDS: dict[str, Callable[..., PairSet]] = {
    "real": lambda splits, name, row, out, *_: write_manifest(out, []),
    "duplicate": lambda splits, name, row, out, *_: write_duplicate(splits["train"], out),
    "augment": lambda splits, name, row, out, *_: write_augmented(splits["train"], name, row, out),
    "cut_paste": lambda splits, name, row, out, *_: write_cut_paste(splits["train"], name, row, out),
    "pseudo": _write_pseudo,
    "imported": lambda splits, name, row, out, *_: write_imported(splits.pop("train"), name, row, out, splits),
}


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<source>-real/.

    Raises: UserError when imported pairs cannot be used, no lesion can be cut.
    """
    splits = Prepared(paths.processed(item["dataset"])).splits()
    with whole_folder(paths.samples(item["dataset"], item["source"], "real")) as out:
        KINDS[params.row.kind](splits, item["source"], params.row, out, params.judge, item["dataset"])
