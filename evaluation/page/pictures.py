"""The pictures of the page, drawn into files, and those files inside the page."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from evaluation.figures.curves import loss_figure, volume_curve
from evaluation.figures.sheets import method_grid, pair_grid
from evaluation.page.report import Report

MOST_PX, QUALITY = 1248, 75  # the page shows nothing wider
TITLES = {"tsne": "Features of real and synthetic images", "colour": "Colours in Lab"}  # of the pictures stage


KINDS = ("curve", "methods", "pairs", "sets", "copies", "losses", "training")


class Picture(NamedTuple):
    """A PNG or SVG of the report, what it shows, and its kind: one of KINDS or, of no data set, paper."""

    dataset: str
    kind: str
    title: str
    path: Path

    @property
    def uri(self) -> str:
        """Return the picture as a data: URI: an SVG as it is, images as JPEG no wider than the page."""
        if self.path.suffix == ".svg":
            return _uri("svg+xml", self.path.read_bytes())
        with Image.open(self.path) as image:
            shown, packed = image.convert("RGB"), io.BytesIO()
        if shown.width > MOST_PX:
            shown = shown.resize((MOST_PX, round(shown.height * MOST_PX / shown.width)), Image.Resampling.LANCZOS)
        shown.save(packed, "JPEG", quality=QUALITY, subsampling=0, optimize=True)  # subsampled, thin outlines fade
        return _uri("jpeg", packed.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def draw_pictures(report: Report, figure_dir: Path) -> Iterator[Picture]:
    """Draw the figures of every data set into `figure_dir`; yield them and those that are there already, for the page.

    The same masks by every generator are in methods-<masks>.png.
    """
    looks = report.looks
    for dataset in report.grid.datasets():
        folder = figure_dir / dataset
        if curves := {key: points for key, points in report.series.items() if key[0] == dataset}:
            volume_curve(curves, looks, folder / "volume.svg")
            yield Picture(dataset, "curve", "mDice against synthetic volume", folder / "volume.svg")
        yield from _sheets(report, dataset, folder)
    for (dataset, what), files in report.losses.items():
        path = figure_dir / dataset / f"losses-{what}.svg"
        loss_figure(files, looks, path)
        yield Picture(dataset, "losses", f"Losses: {what}", path)
    for dataset, drawn in report.trained.items():
        for name, path in drawn.items():
            yield Picture(dataset, "training", f"{name} while it was trained", path)
    for dataset, folder in report.pictured.items():
        for path in sorted(path for path in folder.glob("*.*") if path.suffix in (".png", ".svg")):
            kind = "copies" if path.stem.startswith("copies-") else "sets"
            yield Picture(dataset, kind, TITLES.get(path.stem, path.stem.removeprefix("copies-")), path)


def _sheets(report: Report, dataset: str, folder: Path) -> Iterator[Picture]:
    mine = {key[1:]: pairs for key, pairs in report.samples.items() if key[0] == dataset}
    made = {key: pairs for key, pairs in mine.items() if key[0] not in report.grid.baselines}
    for masks in dict.fromkeys(masks for _, masks in made):
        sets = {generator: pairs for (generator, other), (_, pairs) in made.items() if other == masks}
        real = next(iter(made.values()))[0]
        path = folder / f"methods-{masks}.png"
        if method_grid(real, sets, path):
            yield Picture(dataset, "methods", f"All generators, {masks} masks", path)
    for (generator, masks), (real, synthetic) in mine.items():
        path = folder / f"{generator}-{masks}.png"
        pair_grid(real, synthetic, path)
        yield Picture(dataset, "pairs", f"{generator}, {masks} masks", path)
