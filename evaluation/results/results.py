"""Results of the segment and score stages, read back from disk."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError

REAL, DUPLICATE = "real", "duplicate"
BASELINES = (REAL, DUPLICATE)

# source, generator seed, masks, multiple and seed, as pipeline/params/paths.py puts them together: generators may have
# dashes in their names, so names are read from the right
SET_NAME = r"^(.+?)(?:-g(\d+))?-([^-]+)"
RUN_NAME = re.compile(SET_NAME + r"-x(\d+)-s(\d+)$")
SCORES_NAME = re.compile(SET_NAME + "$")

Metrics = Mapping[str, float | None]
Seeds = tuple[int | None, int]  # of the generator's training, and of the segmenter's


class RunKey(NamedTuple):
    """What names one run of a segmenter, in its path and in params.yaml."""

    dataset: str
    architecture: str
    source: str  # real, duplicate or the key of a generator
    masks: str
    multiple: int
    seed: int
    generator_seed: int | None = None  # of the training of the generator; None where no generator made the pairs

    @property
    def seeds(self) -> Seeds:
        """Return both seeds."""
        return self.generator_seed, self.seed


class SetKey(NamedTuple):
    """What names one added pair set at 1x."""

    dataset: str
    source: str
    masks: str
    generator_seed: int | None = None


@dataclass(frozen=True)
class Run:
    """One trained and tested segmenter. Metrics are 0-1; `details` is empty where the stage left none."""

    key: RunKey
    metrics: Metrics
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """The scores of one synthetic set; None marks what could not be computed, `details` may say why."""

    dataset: str
    source: str
    masks: str
    metrics: Metrics
    details: Mapping[str, Any] = field(default_factory=dict)
    generator_seed: int | None = None

    @property
    def key(self) -> SetKey:
        """Return what names the set."""
        return SetKey(self.dataset, self.source, self.masks, self.generator_seed)


@dataclass(frozen=True)
class Grid:
    """The runs that params.yaml asks for now. Rows and columns of every table follow the order of first mention."""

    runs: tuple[RunKey, ...]
    baselines: tuple[str, ...] = BASELINES  # sources that no generator made
    made: tuple[SetKey, ...] = ()  # added sets, trained on or only scored
    own_masks: frozenset[str] = frozenset()  # generators that made the masks of their sets themselves
    against: tuple[str, ...] = ()  # baselines and generators that the others are tested against too
    scored: tuple[SetKey, ...] | None = None  # sets that are scored now; without it all added ones

    def datasets(self) -> tuple[str, ...]:
        """Return the data sets, in order."""
        return tuple(dict.fromkeys([*(key.dataset for key in self.runs), *(one.dataset for one in self.made)]))

    def architectures(self, dataset: str) -> tuple[str, ...]:
        """Return the architectures that run on a data set, in order."""
        return tuple(dict.fromkeys(key.architecture for key in self.runs if key.dataset == dataset))

    def set_keys(self) -> frozenset[SetKey]:
        """Return every added set that some run uses, or that is only scored."""
        added = (SetKey(*key[:1], *key[2:4], key.generator_seed) for key in self.runs if key.source != REAL)
        return frozenset(added) | {*self.made}

    def scored_keys(self) -> frozenset[SetKey]:
        """Return every added set that is scored now."""
        return self.set_keys() if self.scored is None else frozenset(self.scored)

    def of_scored(self, scores: Iterable[Scores]) -> list[Scores]:
        """Return those of the scores that are asked for: others may be of pairs that were made otherwise since."""
        wanted = self.scored_keys()
        return [one for one in scores if one.key in wanted]

    def sets(self) -> frozenset[tuple[str, str, str]]:
        """Return (dataset, source, masks) of these sets, whatever the seed of the generator."""
        return frozenset(key[:3] for key in self.set_keys())

    def asked(self, runs: Iterable[Run]) -> list[Run]:
        """Return those of the runs that are asked for, in the order of the grid."""
        found = {run.key: run for run in runs}
        return [found[key] for key in dict.fromkeys(self.runs) if key in found]

    def earlier(self, runs: Iterable[Run]) -> list[Run]:
        """Return the runs that lie on disk and that nobody asks for now, sorted."""
        wanted = set(self.runs)
        return sorted((run for run in runs if run.key not in wanted), key=_in_order)


def _in_order(run: Run) -> tuple:
    """Return what runs are sorted by: those without a generator's seed come before those with one."""
    return (*run.key[:6], -1 if run.key.generator_seed is None else run.key.generator_seed)


def read_runs(root: Path) -> list[Run]:
    """Return every run under root/segmentation, sorted by its key; `root` is the folder of all results.

    Raises: UserError naming every file that is damaged or has a name that no run can have.
    """
    problems: list[str] = []
    runs = []
    for path, names, metrics, details in _read(root, "segmentation/*/*", RUN_NAME, problems):
        source, trained, masks, multiple, seed = names
        dataset, architecture = path.parts[-3:-1]
        key = RunKey(dataset, architecture, source, masks, int(multiple), int(seed), _number(trained))
        runs.append(Run(key, metrics, details))
    _refuse(problems)
    return sorted(runs, key=_in_order)


def read_scores(root: Path, ratings: Path = Path("data/ratings")) -> list[Scores]:
    """Return the scores of every synthetic set under root/scores, sorted by data set, generator, masks and its seed.

    Where raters have answered (`mos score` wrote ratings/<data set>.json), theirs are the scores mos and
    mos_confidence.

    Raises: UserError naming every file that is damaged or has a name that no set can have.
    """
    problems: list[str] = []
    scores = []
    for path, (source, trained, masks), metrics, details in _read(root, "scores/*", SCORES_NAME, problems):
        dataset = path.parent.name
        sets = _read_object(ratings / f"{dataset}.json", problems).get("sets")
        rows = sets.get(path.stem, {}) if isinstance(sets, dict) else {}
        rated = {key: rows[key] for key in ("mos", "mos_confidence") if key in rows}
        metrics |= {name: row["value"] for name, row in rated.items() if row["value"] is not None}
        scores.append(Scores(dataset, source, masks, metrics, details | rated, _number(trained)))
    _refuse(problems)
    return sorted(scores, key=lambda one: (*one.key[:3], -1 if one.generator_seed is None else one.generator_seed))


def _read(
    root: Path, folders: str, name: re.Pattern[str], problems: list[str]
) -> Iterator[tuple[Path, tuple[Any, ...], dict[str, Any], dict[str, Any]]]:
    """Yield the path, the groups of the name, the metrics and the details of every result."""
    for path in sorted(root.glob(f"{folders}/*.json")):
        match = name.match(path.stem)
        if match is None:
            problems.append(f"{path}: its name says not which run it is: remove it")
            continue
        metrics = _read_object(path, problems)
        bad = [name for name, value in metrics.items() if value is not None and not _is_number(value)]
        if bad:
            problems.append(f"{path}: {', '.join(bad)}: neither a number nor null: remove it and run dvc repro")
        yield path, match.groups(), metrics, _read_object(root / "details" / path.relative_to(root), problems)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError(f"{len(problems)} result files cannot be used", problems)


def _read_object(path: Path, problems: list[str]) -> dict[str, Any]:
    """Return what a file of JSON holds, nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: is not JSON ({error}): remove it and run dvc repro")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path}: holds a {type(value).__name__}, not an object: remove it and run dvc repro")
        return {}
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
