"""score: the quality of one synthetic set, from features and inspected images."""

from data.pairs.files import write_json, write_text
from data.pairs.tables import csv_text
from pipeline.params import paths
from pipeline.record.settings import made_with

READS = {"scores": "scores"}


def run(item: dict, params) -> None:
    """Write results/scores/<dataset>/<source>-<masks>.json, its details, and a table with one row an image."""
    from evaluation.features.store import read_parts
    from evaluation.scores.audit_scores import COLUMNS
    from evaluation.scores.score import read_sets, score

    dataset, source, masks = item["dataset"], paths.seeded(item["source"], item["generator_seed"]), item["masks"]
    name = f"{source}-{masks}"
    real, added = (paths.features(dataset, *names) for names in (("real", "real"), (source, masks)))
    features = read_sets(real, added, params.scores.extractors)
    inspected = read_parts(paths.inspected(dataset, "real", "real"))
    scored = score(features, inspected | read_parts(paths.inspected(dataset, source, masks)), params.scores)
    write_text(paths.scored(dataset, source, masks), csv_text(COLUMNS, scored.images))
    write_json(paths.RESULTS / "details/scores" / dataset / f"{name}.json", scored.details | made_with(READS.values()))
    write_json(paths.RESULTS / "scores" / dataset / f"{name}.json", scored.flat)
