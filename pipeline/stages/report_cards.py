"""The cards of synthetic sets: facts gathered from params.yaml and outputs/, for evaluation.cards.cards to write."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.acquire.catalogue import terms_of
from data.pairs.errors import UserError
from data.pairs.files import whole_folder, write_text
from data.pairs.manifest import PairSet, read_pairs
from pipeline.params import paths
from pipeline.params.blocks import VOLUMES
from siamese.config.sections import NEEDS

if TYPE_CHECKING:
    from evaluation.cards.cards import CardFacts
    from evaluation.results.results import Scores

CARDS = paths.RESULTS / "cards"


def write_all(params, scores: Iterable["Scores"], versions: Mapping[str, str]) -> None:
    """Write results/cards/<dataset>/<generator>-<masks>/ for every set of `scores`; the folder is replaced whole.

    `params` has the sections of `card_facts`.
    """
    from evaluation.cards.cards import render_cards

    with whole_folder(CARDS) as out:
        for one in scores:
            facts = card_facts(params, one.dataset, one.source, one.masks, versions=versions)
            for name, text in render_cards(facts, one).items():
                write_text(out / one.dataset / f"{one.source}-{one.masks}" / name, text)


def card_facts(params, dataset: str, source: str, masks: str, *, versions: Mapping[str, str]) -> "CardFacts":
    """Return what is known of one synthetic set; `source` is a generator, or <generator>-<filter>.

    `params` has the sections that the report stage reads. Hashes are those that the sampler wrote into the images.

    Raises: UserError when no generator has that name, or a pair set is missing.
    """
    from evaluation.cards.cards import CardFacts

    generator, filter_name = split_source(source, params.generators)
    row = params.generators[generator]
    synthetic = read_pairs(paths.samples(dataset, source, masks))
    made_by = _provenance(synthetic)
    base, on_hub = base_of(params.base, made_by.get("base"))
    multiples = [
        multiple
        for volume in (getattr(params, name) for name in VOLUMES)
        if dataset in volume.datasets and source in volume.generators and masks in volume.masks
        for multiple in volume.multiples
    ]
    steps = params.training.steps_of.get(dataset, params.training.steps)
    training = params.training.model_copy(update={"steps": steps, "steps_of": {}} | row.own_training())
    return CardFacts(
        dataset=dataset,
        dataset_row=_plain(params.datasets[dataset]),
        real_pairs=len(read_pairs(paths.processed(dataset, "train")).pairs),
        source=source,
        generator=generator,
        generator_row=_plain(row),
        generator_sha256=made_by.get("generator", "").rpartition(" ")[2] or None,
        base=base,
        base_on_hub=on_hub,
        training=_plain(training),
        sampling=_plain(params.sampling) if NEEDS[row.method].latents else {},
        masks=masks,
        mask_row=_plain(params.masks[masks]),
        pairs=len(synthetic.pairs),
        multiples=(1, *multiples),
        versions=versions,
        filters=_filters(params, dataset, source, masks, filter_name),
        near_copies=NEEDS[row.method].near_copies,
        **terms_of(params.datasets[dataset].model_dump(mode="json"), params.downloads),
    )


def split_source(source: str, generators: Mapping[str, Any]) -> tuple[str, str]:
    """Return the generator and the filter, which may be empty; the longest generator that fits counts."""
    fitting = [name for name in generators if source == name or source.startswith(f"{name}-")]
    if not fitting:
        raise UserError(f"no row of generators fits {source}", [f"rows are {', '.join(generators)}"])
    generator = max(fitting, key=len)
    return generator, source[len(generator) + 1 :]


def _plain(row) -> dict[str, Any]:
    """Return a row as plain values; of a path on this machine only the last part, because cards are passed on."""
    values: dict[str, Any] = row.model_dump(mode="json")
    return {key: _name(value) if isinstance(value, str) else value for key, value in values.items()}


def _name(text: str) -> str:
    return Path(text).name if text.startswith(("/", "~")) else text


def _provenance(synthetic: PairSet) -> dict[str, str]:
    """Return what the sampler wrote into the first image, as text chunks of PNG; empty for a set without pairs."""
    from PIL import Image

    if not synthetic.pairs:
        return {}
    with Image.open(synthetic.folder / synthetic.pairs[0].image) as image:
        return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


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
    row = params.filters.get(filter_name)
    counts = paths.RESULTS / "filters" / dataset / f"{source}-{masks}.json"
    found = json.loads(counts.read_text(encoding="utf-8")) if counts.is_file() else {}
    return {"filter": filter_name, **(_plain(row) if row else {}), **found}
