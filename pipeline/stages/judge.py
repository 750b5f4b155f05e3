"""judge: the segmenter whose opinion mask fidelity is; it sees real pairs only."""

from data.pairs.files import whole_folder
from pipeline.params import paths

READS = {"judge": "judge"}


def run(item: dict, params) -> None:
    """Write outputs/judges/<dataset>/."""
    from data.pairs.manifest import PairSet
    from data.pairs.prepared import Prepared
    from segmentation.training.train import train

    real = Prepared(paths.processed(item["dataset"])).train
    with whole_folder(paths.judge(item["dataset"])) as out:
        train(real, PairSet(out, ()), params.judge, out, seed=0, settings="judge")
