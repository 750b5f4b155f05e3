"""Every synthetic setting against real pairs, once and twice, and what else params.yaml names, image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from data.pairs.seeds import item_seed
from evaluation.results.comparison import Setting
from evaluation.results.crossed_bootstrap import Estimate, compare, holm
from evaluation.results.results import BASELINES, REAL, Grid, Run, Seeds

SCORE = "fg_image/dice"
BELIEVED = 0.05  # p after correction below this counts as a finding

Image = tuple[str, str]  # test set, id
RunScores = Mapping[Seeds, Mapping[Image, float]]


@dataclass(frozen=True)
class Comparison:
    """One setting against one baseline, or a generator at the same masks and multiple, under one architecture.

    `adjusted` is p after Holm's correction for the `family`: how many settings and architectures of the data set could
    be compared with this baseline. Where nothing could be estimated, `reason` says why. Left out are seeds that not
    both sides and every training of the generator have, and images that not every run has a score of. `trained` says
    whether a generator made the pairs, so that another training of it would have made others.
    """

    architecture: str
    setting: Setting
    baseline: str
    estimate: Estimate | None = None
    reason: str = ""
    adjusted: float | None = None
    family: int = 0
    seeds_left_out: int = 0
    images_left_out: int = 0
    trained: bool = False

    @property
    def one_training(self) -> bool:
        """Return whether a generator made the pairs after a single training, whose spread is not covered."""
        return self.trained and self.estimate is not None and self.estimate.generators == 1

    @property
    def believed(self) -> bool:
        """Return whether p is low enough after correction; with one seed that is over images only."""
        return self.adjusted is not None and self.adjusted < BELIEVED

    @property
    def found(self) -> bool:
        """Return whether it is believed over seeds too."""
        return self.believed and self.estimate is not None and self.estimate.seeds > 1


def compare_all(dataset: str, runs: Sequence[Run], grid: Grid, score: str = SCORE) -> tuple[Comparison, ...]:
    """Return every asked-for synthetic setting of a data set against each baseline, in the order of the grid.

    Baselines are real pairs, once and twice, and what the grid names: other ways of making pairs are met as they are,
    generators by the settings of other generators with the same masks and multiple.

    `score` is any convention/score that details/segmentation holds for each image, 0-1. The same runs give the same
    numbers, whatever else has run; only corrected p values depend on the family.
    """
    keys = [key for key in dict.fromkeys(grid.runs) if key.dataset == dataset]
    scores = {run.key: _image_scores(run, score) for run in grid.asked(runs) if run.key.dataset == dataset}
    sides: dict[tuple[str, Setting], dict[Seeds, Mapping[Image, float]]] = {}
    for key in keys:
        sides.setdefault((key.architecture, Setting(*key[2:5])), {})
        if scores.get(key):
            sides[key.architecture, Setting(*key[2:5])][key.seeds] = scores[key]
    found: list[Comparison] = []
    matched: dict[tuple[str, ...], list[tuple[int, np.ndarray]]] = {}
    generated = {key.source for key in keys if key.source not in grid.baselines}
    for baseline, ((architecture, setting), values) in product((*BASELINES, *grid.against), sides.items()):
        if setting.source in (*BASELINES, baseline) or (baseline in generated and setting.source not in generated):
            continue
        other = setting._replace(source=baseline) if baseline in generated else Setting(baseline, REAL, 1)
        against = sides.get((architecture, other), {})
        comparison, names, differences = _match(Comparison(architecture, setting, baseline), values, against)
        if differences is not None:
            matched.setdefault(names, []).append((len(found), differences))
        found.append(comparison)
    for names, group in matched.items():
        strata = np.unique(names, return_inverse=True)[1]
        rng = np.random.default_rng(item_seed("significance", dataset))
        estimates = compare([differences for _, differences in group], strata, rng)
        for (place, _), estimate in zip(group, estimates, strict=True):
            found[place] = replace(found[place], estimate=estimate)
    families = [[one for one in found if one.baseline == name] for name in dict.fromkeys(one.baseline for one in found)]
    return tuple(one for family in families for one in _corrected(family))


def _image_scores(run: Run, score: str) -> dict[Image, float]:
    sets = (run.details.get("test_sets") or {}).items()
    rows = [(name, row) for name, test_set in sets for row in test_set.get("images", [])]
    return {(name, row["id"]): row[score] for name, row in rows if row.get(score) is not None}


def _match(
    comparison: Comparison, values: RunScores, against: RunScores
) -> tuple[Comparison, tuple[str, ...], np.ndarray | None]:
    """Return the comparison with what was left out, the test set of each image and the differences.

    These are (generators, seeds, images): of the seeds of segmenters that each training of the generator has, and the
    baseline. Where the baseline is a generator, its trainings meet those with the same seed.
    """
    others = {generator for generator, _ in against}
    generators = [g for g in dict.fromkeys(generator for generator, _ in values) if others == {None} or g in others]
    pairs = [(generator, None if others == {None} else generator) for generator in generators]
    by_side = [
        {s for g, s in side if g == one} for pair in pairs for one, side in zip(pair, (values, against), strict=True)
    ]
    seeds = sorted(set.intersection(*by_side)) if generators else []
    if not seeds:
        return replace(comparison, reason="no seed of which both sides have scores of images"), (), None
    made = [[values[generator, seed] for seed in seeds] for generator in generators]
    met = [[against[other, seed] for seed in seeds] for _, other in pairs]
    every = [set(scores) for row in (*made, *met) for scores in row]
    images = sorted(set.intersection(*every))
    left_out = len(set.union(*every)) - len(images)
    comparison = replace(
        comparison,
        seeds_left_out=len(set.union(*by_side)) - len(seeds),
        images_left_out=left_out,
        trained=generators != [None],
    )
    names = tuple(name for name, _ in images)
    if not images or min(names.count(name) for name in set(names)) < 2:
        return replace(comparison, reason="a test set has fewer than two images that all runs have"), (), None
    differences = [
        [[one[image] - other[image] for image in images] for one, other in zip(*rows, strict=True)]
        for rows in zip(made, met, strict=True)
    ]
    return comparison, names, np.array(differences)


def _corrected(family: Sequence[Comparison]) -> list[Comparison]:
    p = {place: one.estimate.p for place, one in enumerate(family) if one.estimate is not None}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    return [replace(one, adjusted=adjusted.get(place), family=len(p)) for place, one in enumerate(family)]
