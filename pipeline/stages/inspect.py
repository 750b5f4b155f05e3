"""inspect: every image by itself: mask fidelity, a thumbnail for the copy audit, colours."""

from data.pairs.files import whole_folder
from pipeline.params import paths

READS = {"features": "features"}


def run(item: dict, params) -> None:
    """Write outputs/inspected/<dataset>/<source>-<masks>/: train and holdout of the real pairs, or synthetic.

    Beside the real pairs the images without masks, where there are some.
    """
    from data.pairs.prepared import read_lone_images
    from evaluation.audit.per_image import inspect_images, inspect_lone
    from evaluation.features.images import image_sets
    from evaluation.features.store import write_features
    from segmentation.inference.predict import load_segmenter

    dataset, source, masks = item["dataset"], paths.seeded(item["source"], item["generator_seed"]), item["masks"]
    images = image_sets(paths.processed(dataset), None if source == "real" else paths.samples(dataset, source, masks))
    inspected = inspect_images(images, load_segmenter(paths.judge(dataset)), batch=params.features.batch)
    if source == "real" and (lone := read_lone_images(paths.unlabelled(dataset))):
        inspected["unlabelled"] = inspect_lone(lone, batch=params.features.batch)
    with whole_folder(paths.inspected(dataset, source, masks)) as out:
        for name, measures in inspected.items():
            write_features(out / f"{name}.npz", measures)
