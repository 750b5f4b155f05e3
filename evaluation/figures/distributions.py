"""Whole sets beside each other: t-SNE of features (Fig. 4 of the paper) and colour histograms."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.drawing import COLOURS
from data.pairs.files import write_text
from data.pairs.tables import csv_text
from evaluation.audit.colour import BINS, RANGES
from evaluation.figures.plots import Looks, panels_of, plain_style, save

PERPLEXITY = 30.0
FEWEST_POINTS = 4  # that a map can have
MOST_POINTS = 500  # a set: more hide one another

Points = Mapping[str, np.ndarray]
Sets = Mapping[str, tuple[str, str]]  # name -> source and masks


def tsne(sets: Points, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """Return a t-SNE map of all sets together, float32 (n, 2) each, and a caption that says how it was made.

    `sets` holds features (N, d), and of each as many are drawn as the smallest has, at most 500: at least
    FEWEST_POINTS in all. On one thread, since the number of threads would change the map. The perplexity is lowered
    where there are fewer than three times as many points.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = min(MOST_POINTS, *(len(features) for features in sets.values()))
    rng = np.random.default_rng(seed)
    drawn = [features[np.sort(rng.choice(len(features), n, replace=False))] for features in sets.values()]
    perplexity = min(PERPLEXITY, (n * len(sets) - 1) / 3)
    with threadpool_limits(1):
        model = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", max_iter=1000, random_state=seed)
        places = model.fit_transform(np.concatenate(drawn).astype(np.float64))
    caption = (
        f"t-SNE of {next(iter(sets.values())).shape[1]} features, {n} images a set, all sets in one map: perplexity "
        f"{perplexity:g}, start from PCA, 1000 steps, seed {seed}. "
        "How large groups are and how far apart says little; what counts is whether the two sets mix."
    )
    return dict(zip(sets, np.split(places, len(sets)), strict=True)), caption


@plain_style
def draw_tsne(places: Points, sets: Sets, looks: Looks, path: Path, caption: str) -> None:
    """Write a PNG with one panel a synthetic set, on common axes, beside the first set, the real one; and its CSV.

    `places` is what `tsne` returns, `sets` says what is in the synthetic ones; markers are open where their masks are
    not real ones. The CSV lies beside the PNG under the same name: set,x,y.
    """
    real, *others = places
    figure, panels = panels_of(max(1, len(others)), width=3.4, height=3.1, shared=True)
    for panel, name in zip(panels, others or [real], strict=True):
        panel.scatter(*places[real].T, s=14, marker="x", c=COLOURS["real"], alpha=0.55, linewidths=1, label=real)
        if others:
            source, masks = sets[name]
            colour = looks.colour(source)
            look = {"marker": looks.marker(source), "facecolors": colour if masks == "real" else "none"}
            panel.scatter(*places[name].T, s=16, alpha=0.75, linewidths=1, edgecolors=colour, label=name, **look)
        panel.set(xticks=[], yticks=[])
        panel.set_aspect("equal", adjustable="box")
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8, frameon=False)
    figure.supxlabel(textwrap.fill(caption, int(15 * figure.get_figwidth())), fontsize=8)
    save(figure, path)
    rows = [(name, f"{x:.4f}", f"{y:.4f}") for name, points in places.items() for x, y in points]
    write_text(path.with_suffix(".csv"), csv_text(("set", "x", "y"), rows))


@plain_style
def draw_colour(histograms: Points, sets: Sets, looks: Looks, path: Path) -> None:
    """Write the Lab histograms as SVG, a panel each for L, a and b: the first set, the real one, is the grey area.

    `histograms` holds `evaluation.audit.colour.set_histogram` (3, BINS) of each set, `sets` what synthetic ones are.
    """
    real, *others = histograms
    seen = np.sum(list(histograms.values()), axis=0) > 1e-4  # the tails of a and b would leave the panels empty
    figure, panels = panels_of(3, width=3.4, height=3.4)
    for channel, (panel, (low, high)) in enumerate(zip(panels, RANGES, strict=True)):
        width = (high - low) / BINS
        centres = low + (np.arange(BINS) + 0.5) * width
        density = {name: histogram[channel] / width for name, histogram in histograms.items()}
        panel.fill_between(centres, density[real], color=COLOURS["real"], alpha=0.2, linewidth=0, label=real)
        for name in others:
            source, masks = sets[name]
            look = {"color": looks.colour(source), "linestyle": looks.line(masks)}
            panel.plot(centres, density[name], linewidth=1.4, label=name, **look)
        used = centres[seen[channel]]
        panel.set_xlim(used.min() - width, used.max() + width)
        panel.set_ylim(bottom=0)
        panel.set_xlabel(("L, dark to light", "a, green to red", "b, blue to yellow")[channel])
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of pixels a Lab unit")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    save(figure, path)
