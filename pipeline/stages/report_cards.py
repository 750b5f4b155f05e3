"""The cards of synthetic sets: facts gathered from params.yaml and outputs/, for evaluation.cards.cards to write."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from data.acquire.catalogue import terms_of
from data.pairs.errors import UserError
from data.pairs.files import read_json, whole_folder, write_text
from data.pairs.manifest import read_pairs
from data.pairs.prepared import Prepared, read_lone_images
from evaluation.cards.cards import CardFacts, render_cards
from evaluation.results.results import Scores
from pipeline.params import paths
from siamese.config.sections import NEEDS

CARDS = paths.RESULTS / "cards"


def write_all(params, scores: Iterable[Scores], versions: Mapping[str, str]) -> None:
    """Write results/cards/<dataset>/<generator>-g<generator_seed>-<masks>/ for every set of `scores`, all or none."""
    with whole_folder(CARDS) as out:
        for one in scores:
            facts = card_facts(params, *one.key, versions=versions)
            name_of_set = f"{paths.seeded(one.source, one.generator_seed)}-{one.masks}"
            for name, text in render_cards(facts, one).items():
                write_text(out / one.dataset / name_of_set / name, text)


def card_facts(
    params, dataset: str, source: str, masks: str, seed: int | None, *, versions: Mapping[str, str]
) -> CardFacts:
    """Return what is known of one synthetic set; `source` is a generator, or <generator>-<filter>, trained with `seed`.

    `params` has the sections that the report stage reads. Hashes are those that the sampler wrote into the images.

    Raises: UserError when no generator has that name, or a pair set is missing.
    """
    generator, filter_name = split_source(source, params.generators)
    row = params.generators[generator]
    multiples = _multiples(params, dataset, source, masks)
    name_on_disk = paths.seeded(source, seed)
    synthetic = read_pairs(paths.samples(dataset, name_on_disk, masks, multiples[0]))
    with Image.open(synthetic.folder / synthetic.pairs[0].image) as image:
        made_by = image.info
    base, on_hub = base_of(params.base, made_by.get("base"))
    steps = params.training.steps_of.get(dataset, params.training.steps)
    training = params.training.model_copy(update={"steps": steps, "steps_of": {}} | row.own_training())
    return CardFacts(
        dataset=dataset,
        dataset_row=_plain(params.datasets[dataset]),
        real_pairs=len(Prepared(paths.processed(dataset)).train.pairs),
        source=source,
        generator=generator,
        generator_row=_plain(row),
        generator_sha256=made_by.get("generator", "").rpartition(" ")[2] or None,
        base=base,
        base_on_hub=on_hub,
        training=(_plain(training) if row.reads_training else {}) | {"seed": seed},
        sampling=_sampling(params.sampling, seed or 0, made_by) if NEEDS[row.method].latents else {},
        masks=masks,
        mask_row=_plain(params.masks[masks]),
        pairs=len(synthetic.pairs),
        multiples=multiples,
        versions=versions,
        filters=_filters(params, dataset, name_on_disk, masks, filter_name),
        unlabelled=_unlabelled(params, dataset, row, params.masks[masks]),
        near_copies=NEEDS[row.method].near_copies or made_by.get("near-copy") == "yes",
        own_masks=NEEDS[row.method].emits_masks,
        **terms_of(params.datasets[dataset].model_dump(mode="json"), params.downloads),
    )


def _unlabelled(params, dataset: str, generator, masks) -> int:
    """Return how many images without masks the base, the generator or the masks were made with."""
    names = getattr(params.datasets[dataset], "unlabelled", ())
    used = params.base.kind == "pretrain" or masks.kind == "pseudo" or getattr(generator, "pseudo_masks", False)
    return len(read_lone_images(paths.unlabelled(dataset))) if names and used else 0


def _sampling(section, seed: int, made_by: Mapping[Any, Any]) -> dict[str, Any]:
    """Return how the set was sampled; a strength belongs to sets alone whose images start from others."""
    values = _plain(section) | {"seed": section.seed + seed}
    return values if "strength" in made_by else {key: value for key, value in values.items() if key != "strength"}


def _multiples(params, dataset: str, source: str, masks: str) -> tuple[int, ...]:
    """Return the multiples that are made of a set, the smallest first."""
    volume = params.volume
    further = dataset in volume.datasets and source in volume.generators and masks in volume.masks
    multiples = {*volume.multiples} if further else set()
    if masks in params.comparison.masks or not further:
        multiples |= {1}
    return tuple(sorted(multiples))


def split_source(source: str, generators: Mapping[str, Any]) -> tuple[str, str]:
    """Return the generator and the filter, which may be empty; the longest generator that fits counts."""
    fitting = [name for name in generators if source == name or source.startswith(f"{name}-")]
    if not fitting:
        raise UserError(f"no row of generators fits {source}", [f"rows are {', '.join(generators)}"])
    generator = max(fitting, key=len)
    return generator, source[len(generator) + 1 :]


def _plain(row) -> dict[str, Any]:
    return without_paths(row.model_dump(mode="json"))


def without_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values, of a path on this machine only the last part, because cards are passed on."""
    return {key: _name(value) if isinstance(value, str) else value for key, value in values.items()}


def _name(text: str) -> str:
    return Path(text).name if text.startswith(("/", "~")) else text


def base_of(row, digest: str | None) -> tuple[dict[str, Any], bool]:
    """Return kind, name and hash of the base model, and whether it has that name on the Hugging Face Hub."""
    facts = {"kind": row.kind, "name": "", "sha256": digest}
    if row.kind == "diffusers":
        facts |= {"revision": row.revision, "variant": row.variant, "name": _name(row.model)}
        on_disk = row.model.startswith((".", "/", "~")) or Path(row.model).is_dir()
        return facts, row.model.count("/") == 1 and not on_disk
    return {**facts, "name": _name(row.path) if row.kind == "single_file" else "pretrained here"}, False


def _filters(params, dataset: str, source: str, masks: str, filter_name: str) -> dict[str, Any]:
    """Return the filter's name, row and counts as far as they are there; empty for a set that was not filtered."""
    if not filter_name:
        return {}
    row = _plain(params.filters[filter_name]) if filter_name in params.filters else {}
    path = paths.RESULTS / "filters" / dataset / f"{source}-{masks}.json"
    counts = read_json(path, "remove it and run dvc repro") if path.is_file() else {}
    return {"filter": filter_name, **row, **counts}
