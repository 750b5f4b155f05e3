"""pictures: where real and synthetic images lie among each other, their colours, and what looks most like a copy."""

from data.pairs.files import whole_folder
from data.pairs.manifest import read_pairs
from data.pairs.prepared import Prepared
from pipeline.params import paths
from pipeline.params.blocks import of_first_seed, scored_sets

READS = {name: f"comparison.{name}" for name in ("baselines", "generators", "generator_seeds", "masks")}
READS |= {"extractors": "scores.extractors"}
FEWEST = 10  # images, or as many as there are real ones: a smaller set would cut all others to its size
VECTORS = ("inception", "clip_b32", "clip_l336", "lite0")  # the first that is extracted is drawn


def run(item: dict, params) -> None:
    """Write results/pictures/<dataset>/: tsne.png and .csv, colour.svg, and copies-<set>.png for each synthetic set.

    Of a generator with several seeds these are of the first: more of them would not be told apart.
    """
    from evaluation.audit.colour import set_histogram
    from evaluation.audit.filters import read_scores
    from evaluation.features.store import read_features
    from evaluation.figures.distributions import FEWEST_POINTS, draw_colour, draw_tsne, tsne
    from evaluation.figures.plots import Looks, draw_reason
    from evaluation.figures.sheets import copy_sheet

    dataset = item["dataset"]
    first = of_first_seed(scored_sets(params))
    sets = {f"{source}-{masks}": (paths.seeded(source, seed), masks) for source, masks, seed in first}
    parts = {"real": ("real", "real", "train.npz")} | {name: (*key, "synthetic.npz") for name, key in sets.items()}
    looks = Looks([*params.baselines, *params.generators], params.masks)  # the report has the same order
    kinds = {f"{source}-{masks}": (source, masks) for source, masks, _ in first}
    train = Prepared(paths.processed(dataset)).train
    extractor = next((name for name in VECTORS if name in params.extractors), None)
    with whole_folder(paths.RESULTS / "pictures" / dataset) as out:
        if extractor:
            stored = {
                name: read_features(paths.features(dataset, source, masks, extractor) / file)
                for name, (source, masks, file) in parts.items()
            }
            meta = stored["real"].meta
            few = min(FEWEST, len(stored["real"]))
            vectors = {name: one["features"] for name, one in stored.items() if name == "real" or len(one) >= few}
            points = len(vectors) * min(map(len, vectors.values()))
            if points < FEWEST_POINTS:
                reason = f"No t-SNE map: {points} images can be drawn, it needs {FEWEST_POINTS}."
                draw_reason(reason, out / "tsne.png")
            else:
                places, caption = tsne(vectors, seed=0)
                draw_tsne(places, kinds, looks, out / "tsne.png", f"{meta['backbone']}. {caption}")
        inspected = {
            name: read_features(paths.inspected(dataset, source, masks) / file)["lab_histogram"]
            for name, (source, masks, file) in parts.items()
        }
        histograms = {name: set_histogram(one) for name, one in inspected.items()}
        draw_colour(histograms, kinds, looks, out / "colour.svg")
        for name, (source, masks) in sets.items():
            rows = read_scores(paths.scored(dataset, source, masks))
            synthetic = read_pairs(paths.samples(dataset, source, masks))
            copy_sheet(rows, train, synthetic, out / f"copies-{name}.png")
