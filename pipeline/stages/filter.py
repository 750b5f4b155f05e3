"""filter: a synthetic set without the pairs that a row of `filters` drops."""

from data.pairs.files import write_json
from data.pairs.manifest import read_pairs
from pipeline.params import paths

READS = {"row": "filters.{filter}"}


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<generator>-<filter>-g<generator_seed>-<masks>/, counts to results/filters/.

    Raises: UserError when nothing would be left, or a measure that the filter needs could not be computed.
    """
    from evaluation.audit.filters import filter_pairs

    dataset, masks, seed = item["dataset"], item["masks"], item["generator_seed"]
    generator = paths.seeded(item["generator"], seed)
    source = paths.seeded(f"{item['generator']}-{item['filter']}", seed)
    synthetic = read_pairs(paths.samples(dataset, generator, masks))
    table, out = paths.scored(dataset, generator, masks), paths.samples(dataset, source, masks)
    counts = filter_pairs(synthetic, table, params.row, out, source)
    name = f"{dataset}/{source}-{masks}.json"
    write_json(paths.RESULTS / "details/filters" / name, {"row": params.row.model_dump(), **counts})
    write_json(paths.RESULTS / "filters" / name, counts)
