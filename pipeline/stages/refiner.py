"""refiner: what a segmenter gives a generator: its loss as one file, or pseudo masks; for most generators nothing."""

import tempfile
from pathlib import Path

from data.pairs.files import whole_folder, write_json
from data.pairs.manifest import PairSet
from data.pairs.prepared import Prepared
from pipeline.params import paths

READS = {"generator": "generators.{generator}", "judge": "judge"}
SEED = 1  # not the judge itself: a generator must not be trained by what measures it


def run(item: dict, params) -> None:
    """Write outputs/refiners/<dataset>/<generator>/: loss.pt2 where the row refines, and refiner.json.

    With pseudo_masks the images without masks are there as a pair set.

    The file is a program of torch.export: images (B, 3, H, W) in [0, 1] and masks (B, 1, H, W) of 0 and 1 -> the
    structure loss of a segmenter of the judge's row, trained on real pairs; so generators know nothing of segmenters.
    """
    dataset, name = item["dataset"], item["generator"]
    refines = getattr(params.generator, "refine", "off") != "off"
    with whole_folder(paths.refiner(dataset, name)) as out:
        write_json(out / "refiner.json", {"refines": refines})
        if getattr(params.generator, "pseudo_masks", False):
            from data.pairs.prepared import read_lone_images
            from segmentation.training.pseudo import write_pseudo_pairs

            real, lone = Prepared(paths.processed(dataset)).train, read_lone_images(paths.unlabelled(dataset))
            write_pseudo_pairs(real, lone, params.judge, name, out / paths.pseudo_pairs(dataset, name).name)
        if refines:
            from segmentation.inference.predict import load_segmenter
            from segmentation.training.export_loss import export_loss
            from segmentation.training.train import train

            real = Prepared(paths.processed(dataset)).train
            with tempfile.TemporaryDirectory() as name_of_folder:
                folder = Path(name_of_folder)
                train(real, PairSet(folder, ()), params.judge, folder, seed=SEED, settings="judge")
                export_loss(load_segmenter(folder), real.image(real.pairs[0]).shape[:2], out / "loss.pt2")
