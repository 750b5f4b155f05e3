"""filter: a synthetic set without the pairs that a row of `filters` drops, or with the best of several draws."""

from dataclasses import replace
from pathlib import Path

from data.pairs.assemble import drawn_files, drawn_row
from data.pairs.files import write_json
from data.pairs.image_io import png_text
from data.pairs.manifest import Pair, PairSet, complete, read_pairs
from data.pairs.prepared import Prepared
from pipeline.params import paths
from pipeline.stages.sample import opened_generator

READS = {"row": "filters.{filter}", "sampling": "sampling", "features": "features"}


def further_draws(item: dict, sampling, count: int) -> list[PairSet]:
    """Return `count` more sets of the same pairs, each with images of seeds of its own, which stay in .work.

    They are drawn for the same masks as the first, and start from the same images where it does.
    """
    masks = read_pairs(paths.masks(item["dataset"], item["masks"], 1))
    with opened_generator(item, sampling, f"{item['masks']}-draws") as (_, images_of):
        folders = [images_of(masks, draw) for draw in range(2, count + 2)]

    def drawn(folder: Path, given: Pair) -> Pair:
        image, mask = drawn_files(folder, given.id)
        pair = drawn_row(given, mask, png_text(image))
        if mask.is_file():  # this draw's own
            return complete(folder, replace(pair, image=image.name, mask=mask.name))
        return replace(pair, image=image.name, mask=str((masks.folder / given.mask).absolute()))

    return [PairSet(folder, tuple(drawn(folder, pair) for pair in masks.pairs)) for folder in folders]


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<generator>-<filter>-g<generator_seed>-<masks>/, counts to results/filters/.

    Raises: UserError when nothing would be left, or a measure that the filter needs could not be computed.
    """
    dataset, masks, seed, row = item["dataset"], item["masks"], item["generator_seed"], params.row
    generator = paths.seeded(item["generator"], seed)
    source = paths.seeded(f"{item['generator']}-{item['filter']}", seed)
    synthetic = read_pairs(paths.samples(dataset, generator, masks))
    train = Prepared(paths.processed(dataset)).train
    draws = further_draws(item, params.sampling, row.best_of - 1) if row.best_of else []

    from evaluation.audit.filters import filter_pairs, write_set
    from evaluation.audit.match_colour import recolour_to

    recolour = recolour_to(train, row.match_colour, synthetic.pairs) if row.match_colour else None
    out = paths.samples(dataset, source, masks)
    if row.best_of:
        from evaluation.audit.best_of import best_of
        from segmentation.inference.predict import load_segmenter

        judge = load_segmenter(paths.judge(dataset))
        kept, counts = best_of([synthetic, *draws], train, judge, row, params.features)
        write_set(kept, out, source, recolour)
    else:
        counts = filter_pairs(synthetic, paths.scored(dataset, generator, masks), row, out, source, recolour)
    name = f"{dataset}/{source}-{masks}.json"
    write_json(paths.RESULTS / "details/filters" / name, {"row": row.model_dump(), **counts})
    write_json(paths.RESULTS / "filters" / name, counts)
