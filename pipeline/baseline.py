"""baseline: the pair sets that need no generator: nothing, and the real pairs once more."""

from data.pairs.assemble import write_duplicate, write_empty
from data.pairs.errors import UserError
from data.pairs.files import whole_folder
from data.pairs.manifest import read_pairs
from pipeline import paths

READS: dict[str, str] = {}

BASELINES = {"real": lambda real, out: write_empty(out), "duplicate": write_duplicate}


def run(item: dict, params) -> None:
    """Write outputs/samples/<dataset>/<source>-real/x1/."""
    if item["source"] not in BASELINES:
        raise UserError(f"--source {item['source']}: no such baseline; allowed: {', '.join(BASELINES)}")
    real = read_pairs(paths.processed(item["dataset"], "train"))
    with whole_folder(paths.samples(item["dataset"], item["source"], "real")) as out:
        BASELINES[item["source"]](real, out)
