"""train: one generator on one data set."""

from pathlib import Path

from data.pairs.files import code_fingerprint, is_main_process, sha256_tree, whole_folder, work_folder
from pipeline.params import paths

LIVE = Path("live")  # no output: what is there depends on no setting of a result
READS = {"generator": "generators.{generator}", "training": "training"}


def run(item: dict, params) -> None:
    """Write outputs/generators/<dataset>/<generator>-g<generator_seed>/, resuming from .work after a crash.

    A row with `weights` imports that checkpoint and trains nothing.

    Raises: UserError when the loss is not finite, or the hint or the checkpoint does not fit the base model.
    """
    from data.pairs.manifest import read_pairs
    from data.pairs.prepared import Prepared
    from data.pairs.training import accelerator
    from siamese.config.sections import NEEDS, TrainingConfig
    from siamese.fit import fit, load_data
    from siamese.method.checkpoint import note_pairs
    from siamese.training.import_official import import_generator
    from siamese.training.loop import Run

    dataset, name, seed = item["dataset"], item["generator"], item["generator_seed"]
    base_dir, generator = paths.base(dataset), paths.generator(dataset, name, seed)
    steps = params.training.steps_of.get(dataset, params.training.steps)
    training = TrainingConfig(**params.training.model_dump() | {"steps": steps, "steps_of": {}}, seed=seed)
    needs = NEEDS[params.generator.method]
    pool = read_pairs(paths.normal(dataset)) if needs.normal else None
    asked = getattr(params.generator, "pseudo_masks", False)
    pseudo = read_pairs(paths.pseudo_pairs(dataset, name)) if asked else None
    real = Prepared(paths.processed(dataset)).train
    data = load_data(params.generator, real, paths.latents(dataset), pool, pseudo)
    if getattr(params.generator, "weights", None):
        if is_main_process():
            with whole_folder(generator) as out:
                import_generator(params.generator, data.context, base_dir, out)
                note_pairs(out, real)
        return
    further = (*((paths.latents(dataset), base_dir) if needs.latents else ()), *([pool.folder] if pool else ()))
    fingerprint = {
        "data": sha256_tree(paths.processed(dataset, "train"), paths.refiner(dataset, name), *further),
        "params": [params.generator.model_dump(mode="json"), training.model_dump(mode="json")],
        "precision": accelerator().mixed_precision,
        "code": code_fingerprint("data", "siamese"),
    }
    with (
        work_folder(f"train/{dataset}/{generator.name}", fingerprint) as work,
        whole_folder(generator) as out,
    ):
        live = LIVE / dataset / generator.name
        fit(data, params.generator, Run(training, base_dir, out, work, paths.refiner(dataset, name), live))
        if is_main_process():
            note_pairs(out, real)
