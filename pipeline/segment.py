"""segment: train one segmenter on the real pairs and one added set, and test it on every test set."""

from data.pairs.files import whole_folder, write_json
from data.pairs.manifest import held_out_splits, read_pairs
from pipeline import paths

READS = {"row": "architectures.{architecture}"}


def run(item: dict, params) -> None:
    """Write outputs/segmenters/…, results/segmentation/….json and the details under results/details/."""
    from segmentation.evaluate import evaluate
    from segmentation.train import train

    dataset, architecture = item["dataset"], item["architecture"]
    name = paths.run_name(item["source"], item["masks"], item["multiple"], item["seed"])
    real = read_pairs(paths.processed(dataset, "train"))
    added = read_pairs(paths.samples(dataset, item["source"], item["masks"], item["multiple"]))
    folder = paths.segmenter(dataset, architecture, name)
    with whole_folder(folder) as out:
        run_facts = train(real, added, params.row, out, seed=item["seed"])
    tests = {split: read_pairs(paths.processed(dataset, split)) for split in held_out_splits(paths.processed(dataset))}
    measured = evaluate(folder, tests)
    details = {**item, **run_facts, "test_sets": measured["test_sets"], "row": params.row.model_dump(mode="json")}
    write_json(paths.RESULTS / "details/segmentation" / dataset / architecture / f"{name}.json", details)
    write_json(paths.RESULTS / "segmentation" / dataset / architecture / f"{name}.json", measured["metrics"])
