"""train: one generator on one data set."""

from data.pairs.files import code_fingerprint, sha256_tree, whole_folder, work_folder
from pipeline import paths

READS = {"generator": "generators.{generator}", "training": "training"}


def run(item: dict, params) -> None:
    """Write outputs/generators/<dataset>/<generator>/, resuming from .work after a crash.

    Raises: UserError when the loss is not finite or the hint does not fit the base model.
    """
    from data.pairs.manifest import read_pairs
    from siamese.latents import load_training_data
    from siamese.train import train_generator

    dataset, name = item["dataset"], item["generator"]
    base_dir = paths.base(dataset)
    fingerprint = {
        "data": sha256_tree(paths.latents(dataset), paths.processed(dataset, "train"), base_dir),
        "params": [params.generator.model_dump(mode="json"), params.training.model_dump(mode="json")],
        "code": code_fingerprint("data", "siamese"),
    }
    data = load_training_data(read_pairs(paths.processed(dataset, "train")), paths.latents(dataset))
    with (
        work_folder(f"train/{dataset}/{name}", fingerprint) as work,
        whole_folder(paths.generator(dataset, name)) as out,
    ):
        train_generator(data, params.generator, params.training, base_dir, out, work)
