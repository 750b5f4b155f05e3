"""score: the quality of one synthetic set, and whether its lesions sit where its masks say."""

from data.pairs.files import write_json
from data.pairs.manifest import held_out_splits, read_pairs
from pipeline import paths

READS = {"scores": "scores"}


def run(item: dict, params) -> None:
    """Write results/scores/<dataset>/<generator>-<masks>.json and the details under results/details/.

    Raises: UserError when the full profile lacks weights, before an image is read.
    """
    from evaluation.score import score
    from segmentation.predict import load_segmenter

    dataset, name = item["dataset"], f"{item['generator']}-{item['masks']}"
    holdout = held_out_splits(paths.processed(dataset))[0]
    flat, details = score(
        read_pairs(paths.processed(dataset, "train")),
        read_pairs(paths.processed(dataset, holdout)),
        read_pairs(paths.samples(dataset, item["generator"], item["masks"])),
        params.scores,
        load_segmenter(paths.judge(dataset)),
    )
    write_json(paths.RESULTS / "details/scores" / dataset / f"{name}.json", {**details, "holdout": holdout})
    write_json(paths.RESULTS / "scores" / dataset / f"{name}.json", flat)
