"""Pictures of whole sets: t-SNE of features (Fig. 4 of the paper), colour histograms, and a sheet of likely copies."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.pairs.files import csv_text, write_text
from data.pairs.manifest import Pair, PairSet, content
from evaluation.audit.colour import BINS, RANGES
from evaluation.audit.copies import symmetries, thumbnails
from evaluation.figures.pairs_and_curves import CELL_PX, COLOURS, EMPTY, FONT_PX, GAP_PX, INK, MARKERS, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL_COLOUR = "#767676"
PERPLEXITY = 30.0
FEWEST_POINTS = 4
MOST_POINTS = 500  # a set: more hide one another
SHEET_COLUMNS = 4
ALARM = (179, 38, 30)

Points = Mapping[str, np.ndarray]


def tsne(sets: Points, seed: int, perplexity: float = PERPLEXITY) -> tuple[dict[str, np.ndarray], str]:
    """Return a t-SNE map of all sets together, float32 (n, 2) each, and a caption that says how it was made.

    `sets` holds features (N, d), and of each as many are drawn as the smallest has, at most 500. On one thread, since
    the number of threads would change the map. The perplexity is lowered where there are fewer than three times as many
    points.

    Raises: ValueError for fewer than 4 points in all.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = min(MOST_POINTS, *(len(features) for features in sets.values()))
    total = n * len(sets)
    if total < FEWEST_POINTS:
        raise ValueError(f"t-SNE needs at least {FEWEST_POINTS} points, got {total}")
    rng = np.random.default_rng(seed)
    drawn = [features[np.sort(rng.choice(len(features), n, replace=False))] for features in sets.values()]
    perplexity = min(perplexity, (total - 1) / 3)
    with threadpool_limits(1):
        model = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", max_iter=1000, random_state=seed)
        places = model.fit_transform(np.concatenate(drawn).astype(np.float64))
    caption = (
        f"t-SNE of {next(iter(sets.values())).shape[1]} features, {n} images a set, all sets in one map: perplexity "
        f"{perplexity:g}, start from PCA, 1000 steps, seed {seed}. "
        "How large groups are and how far apart says little; what counts is whether the two sets mix."
    )
    return dict(zip(sets, np.split(places, len(sets)), strict=True)), caption


def draw_tsne(places: Points, path: Path, caption: str) -> None:
    """Write a PNG with one panel a synthetic set, on common axes, beside the first set, the real one; and its CSV.

    `places` is what `tsne` returns. The CSV lies beside the PNG under the same name: set,x,y.
    """
    real, *others = places
    with _figure(max(1, len(others)), 3.6) as (figure, panels):
        for number, (panel, name) in enumerate(zip(panels, others or [real], strict=True), 1):
            panel.scatter(*places[real].T, s=14, marker="o", c=REAL_COLOUR, alpha=0.55, linewidths=0, label=real)
            if others:
                look = {"marker": MARKERS[number % len(MARKERS)], "c": COLOURS[number % len(COLOURS)]}
                panel.scatter(*places[name].T, s=16, alpha=0.75, linewidths=0, label=name, **look)
            panel.set(xticks=[], yticks=[])
            panel.set_aspect("equal", adjustable="box")
            panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8, frameon=False)
        _save(figure, path, caption)
    lines = [(name, f"{x:.4f}", f"{y:.4f}") for name, found in places.items() for x, y in found]
    write_text(path.with_suffix(".csv"), csv_text(("set", "x", "y"), lines))


def draw_reason(reason: str, path: Path) -> None:
    """Write a PNG that says why there is no picture."""
    with _figure(1, 1.2) as (figure, panels):
        panels[0].axis("off")
        panels[0].text(0.5, 0.5, textwrap.fill(reason, 60), ha="center", va="center", fontsize=8)
        _save(figure, path)


def draw_colour(histograms: Points, path: Path) -> None:
    """Write a PNG of the Lab histograms, a panel each for L, a and b: the first set, the real one, is the grey area.

    `histograms` holds `evaluation.audit.colour.set_histogram` (3, BINS) of each set.
    """
    real, *others = histograms
    seen = np.sum(list(histograms.values()), axis=0) > 1e-4  # the tails of a and b would leave the panels empty
    with _figure(3, 3.4, sharey=False) as (figure, panels):
        for channel, (panel, (low, high)) in enumerate(zip(panels, RANGES, strict=True)):
            width = (high - low) / BINS
            centres = low + (np.arange(BINS) + 0.5) * width
            density = {name: histogram[channel] / width for name, histogram in histograms.items()}
            panel.fill_between(centres, density[real], color=REAL_COLOUR, alpha=0.35, linewidth=0, label=real)
            for number, name in enumerate(others, 1):
                panel.plot(centres, density[name], color=COLOURS[number % len(COLOURS)], linewidth=1.4, label=name)
            used = centres[seen[channel]]
            panel.set_xlim(used.min() - width, used.max() + width)
            panel.set_ylim(bottom=0)
            panel.set_xlabel(("L, dark to light", "a, green to red", "b, blue to yellow")[channel])
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("share of pixels a Lab unit")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
        _save(figure, path)


@contextmanager
def _figure(columns: int, height: float, *, sharey: bool = True) -> Iterator[tuple["Figure", Sequence]]:
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context("default"):
        figure = Figure(figsize=(0.6 + 3.4 * columns, height), dpi=130, layout="constrained")
        yield figure, figure.subplots(1, columns, squeeze=False, sharex=sharey, sharey=sharey)[0]


def _save(figure: "Figure", path: Path, caption: str = "") -> None:
    if caption:
        figure.supxlabel(textwrap.fill(caption, int(22 * figure.get_figwidth())), fontsize=6)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn.getvalue())


def contact_sheet(
    rows: Sequence[Mapping[str, str]], train: PairSet, synthetic: PairSet, path: Path, top: int = 20
) -> None:
    """Write a PNG of the synthetic images nearest to a training image, nearest first, each beside that image.

    `rows` are those of the score stage's table (id, nearest, copy, copy_distance). The training image, on the right, is
    turned and mirrored as it fits best. A training image that is not in `train` leaves a grey field.
    """
    near = sorted(rows, key=lambda row: (float(row["copy_distance"]), row["id"]))[:top]
    if not near:
        raise ValueError(f"{path}: no rows to draw")
    real, made = ({pair.id: pair for pair in one.pairs} for one in (train, synthetic))
    cell = int(np.clip(synthetic.image(made[near[0]["id"]]).shape[0], 128, CELL_PX[0]))
    line = FONT_PX + 2
    step = (2 * cell + 3 * GAP_PX, cell + 3 * line + 2 * GAP_PX)
    columns = min(SHEET_COLUMNS, len(near))
    sheet = Image.new("RGB", (GAP_PX + columns * step[0], GAP_PX + -(-len(near) // columns) * step[1]), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for number, row in enumerate(near):
        left, top_px = GAP_PX + number % columns * step[0], GAP_PX + number // columns * step[1]
        image = _content(synthetic, made[row["id"]])
        twin = real.get(row["nearest"])
        shown = [image, None if twin is None else _turned(_content(train, twin), image)]
        for side, one in enumerate(shown):
            picture = Image.new("RGB", (cell, cell), EMPTY)
            if one is not None:
                picture = Image.fromarray(one).resize((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + side * (cell + GAP_PX), top_px))
        is_copy = row["copy"].lower() in ("1", "true")
        below = top_px + cell + 2
        texts = (f"synthetic {row['id']}", f"real {row['nearest']}", f"distance {float(row['copy_distance']):.3f}")
        for place, text in enumerate(texts):
            draw.text((left, below + place * line), _fitting(text, font, 2 * cell), INK, font)
        if is_copy:
            draw.text((left + cell + GAP_PX, below + 2 * line), "copy", ALARM, font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG", optimize=True)


def _content(pairs: PairSet, pair: Pair) -> np.ndarray:
    return content(pair, pairs.image(pair))


def _turned(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return the flip or quarter turn of uint8 (H, W, 3) whose thumbnail is nearest to that of `like`."""
    target = thumbnails(like[None])
    views = symmetries(image[None])
    return np.ascontiguousarray(min(views, key=lambda view: float(((thumbnails(view) - target) ** 2).sum()))[0])


def _fitting(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> str:
    """Return the text, cut in its middle to fit."""
    while font.getlength(text) > width_px and len(text) > 9:
        half = (len(text) - 4) // 2
        text = f"{text[:half]}...{text[-half:]}".replace("......", "...")
    return text
