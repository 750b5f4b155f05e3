"""export --format diffusers: a trained generator as a folder that plain diffusers loads."""

import sys
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree, whole_folder, write_text
from pipeline.params import paths
from pipeline.params.read import load_params

READS = {"row": "datasets.{dataset}", "downloads": "downloads", "base": "base", "sampling": "sampling"}


def _place(generator: Path) -> tuple[str, Path]:
    """Return the data set of a generator and the folder of its base model, by where the generator lies."""
    dataset = generator.resolve().parent.name
    if paths.generator(dataset, "x", 0).resolve().parent != generator.resolve().parent:
        where = paths.generator("DATASET", "NAME", 0)
        raise UserError(
            f"{generator} is no generator of this project", [f"run this in the project, on such as {where}"]
        )
    return dataset, paths.base(dataset)


def export_generator(generator: Path, out: Path) -> None:
    """Write a trained generator with its base model and a card to `out`, which appears whole or not at all.

    Prompt, size, terms and sampling are those of params.yaml in the folder that this is run in.

    Raises: UserError for a folder that is no generator of a method that diffusers knows, a prompt that is not the one
    of its training, and when `out` holds something.
    """
    from data.acquire.catalogue import terms_of
    from data.pairs.image_io import levels
    from evaluation.cards.diffusers_card import DiffusersFacts, render_diffusers_card
    from pipeline.stages.report_cards import base_of, without_paths
    from siamese.base.load import base_info
    from siamese.export.diffusers_folder import DENSE, MASK, check_method, write_diffusers
    from siamese.method.checkpoint import read_config

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: name another folder or remove it")
    check_method(generator)
    dataset, base_dir = _place(generator)
    params, config = load_params(READS, {"dataset": dataset}), read_config(generator)
    row, sampling = params.row, params.sampling
    base, on_hub = base_of(params.base, base_info(base_dir)["sha256"])
    classes = tuple(getattr(row, "classes", None) or ("lesion",))
    try:
        with whole_folder(out.resolve()) as folder:
            used = write_diffusers(generator, base_dir, sampling, row.prompt, row.size_px, folder)
            facts = DiffusersFacts(
                name=generator.resolve().name,
                dataset=dataset,
                prompt=row.prompt,
                size_px=row.size_px,
                pairs=config.get("pairs", 0),
                row=without_paths(config["generator"]),
                training=config.get("training", {}),
                sampling=sampling.model_dump(mode="json"),
                lacking=used["lacking"],
                latent_shape=used["latent_shape"],
                dense=DENSE if used["dense"] else "",
                mask=MASK,
                classes=classes,
                greys=levels(len(classes))[1:].tolist(),
                base=base,
                base_on_hub=on_hub,
                generator_sha256=sha256_tree(*sorted(generator.rglob("*.safetensors"))),
                drawn=row.kind == "phantom",
                **terms_of(row.model_dump(mode="json"), params.downloads),
            )
            write_text(folder / "README.md", render_diffusers_card(facts))
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error}") from error
    for name, value in used["lacking"].items():
        sys.stdout.write(f"sampling.{name} {value:g} is not in diffusers: images of its pipeline differ from yours\n")
    sys.stdout.write(f"written to {out}: README.md has the lines that load it and draw {MASK}\n")
