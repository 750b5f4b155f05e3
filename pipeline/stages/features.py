"""features: what one extractor says of one pair set; of the real pairs (source real) once for all methods."""

from data.pairs.files import whole_folder
from data.pairs.prepared import Prepared
from pipeline.params import paths

READS = {"features": "features"}


def run(item: dict, params) -> None:
    """Write outputs/features/<dataset>/<source>-<masks>/<extractor>/: one .npz each of train, holdout, codec, or one.

    Raises: UserError for missing or altered weights, before an image is read.
    """
    from evaluation.features.weights import WEIGHTS, require, weights_folder

    extractor = item["extractor"]
    needed = [name for name, file in WEIGHTS.items() if file.extractor == extractor]
    weights = require(needed, weights_folder(params.features.weights_dir), also=WEIGHTS)

    from evaluation.features.extractors import extract_features
    from evaluation.features.images import Images, image_sets
    from evaluation.features.store import write_features

    dataset, source, masks = item["dataset"], paths.seeded(item["source"], item["generator_seed"]), item["masks"]
    real = Prepared(paths.processed(dataset)).train
    images = image_sets(paths.processed(dataset), None if source == "real" else paths.samples(dataset, source, masks))
    if source == "real":
        images["codec"] = Images(real, codec=True)
    features = extract_features(extractor, real, images, params.features, weights)
    with whole_folder(paths.features(dataset, source, masks, extractor)) as out:
        for name, features_of_set in features.items():
            write_features(out / f"{name}.npz", features_of_set)
