"""segment: train one segmenter on the real pairs and one added set, and test it on every test set."""

import os
import shutil

from data.pairs.files import code_fingerprint, sha256_file, whole_folder, work_folder, write_json
from data.pairs.manifest import MANIFEST, read_pairs
from data.pairs.prepared import Prepared
from pipeline.params import paths
from pipeline.record.settings import made_with

READS = {"row": "architectures.{architecture}"}


def run(item: dict, params) -> None:
    """Write outputs/segmenters/…, its curve under results/curves/, results/segmentation/….json and the details.

    Raises: UserError when the row cannot be trained on these pairs.
    """
    from data.pairs.image_io import write_image
    from segmentation.inference.overlays import draw_cases
    from segmentation.inference.predict import load_segmenter
    from segmentation.measures.evaluate import evaluate
    from segmentation.networks.encoders import weights_hash
    from segmentation.training.train import CURVE, train

    dataset, architecture = item["dataset"], item["architecture"]
    source = paths.seeded(item["source"], item["generator_seed"])
    name = paths.run_name(source, item["masks"], item["multiple"], item["seed"])
    prepared = Prepared(paths.processed(dataset))
    real, val, tests = prepared.train, prepared.val, prepared.tests()
    added = read_pairs(paths.samples(dataset, source, item["masks"], item["multiple"]))
    fingerprint = {"row": params.row.model_dump(mode="json"), "code": code_fingerprint("data", "segmentation")}
    pair_sets = [real, added, *tests.values(), *([val] if val else [])]
    fingerprint |= {"pairs": [sha256_file(pairs.folder / MANIFEST) for pairs in pair_sets]}
    fingerprint |= {"seed": item["seed"], "precision": os.environ.get("ACCELERATE_MIXED_PRECISION", "no")}
    fingerprint |= {"encoder": weights_hash(params.row) or ""}
    folder = paths.segmenter(dataset, architecture, name)
    with work_folder(f"segment/{dataset}/{architecture}/{name}", fingerprint) as work, whole_folder(folder) as out:
        facts = train(
            real, added, params.row, out,
            seed=item["seed"], val=val, tests=list(tests.values()), work=work,
            settings=f"architectures.{architecture}",
        )  # fmt: skip
        segmenter = load_segmenter(out)
        measured = evaluate(segmenter, tests)
        for split, found in measured["test_sets"].items():
            scores = {image["id"]: image["fg_image/dice"] for image in found["images"]}
            write_image(out / f"cases-{split}.png", draw_cases(segmenter, tests[split], scores))
    curve = paths.curve(dataset, architecture, name)
    curve.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / CURVE, curve)
    details = {**item, **facts, "test_sets": measured["test_sets"], "row": params.row.model_dump(mode="json")}
    details |= made_with(key.format(**item) for key in READS.values())
    write_json(paths.RESULTS / "details/segmentation" / dataset / architecture / f"{name}.json", details)
    write_json(paths.RESULTS / "segmentation" / dataset / architecture / f"{name}.json", measured["metrics"])
