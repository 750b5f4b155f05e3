"""The tables of a data set as text cells, Markdown and CSV."""

from collections.abc import Iterable, Sequence

from data.pairs.tables import csv_text
from evaluation.results.comparison import (
    MEASURES,
    BySeeds,
    Outcome,
    Point,
    Row,
    Setting,
    Summary,
    Table,
    differences,
    summarize,
    summary_of,
)
from evaluation.results.results import DUPLICATE, REAL, Grid, Metrics, Run, RunKey, Scores, SetKey
from evaluation.scores.glossary import SCORES
from evaluation.tables.text import (
    ARROWS,
    MISSING,
    PLUS_MINUS,
    TIMES,
    Cell,
    TextTable,
    counted,
    markdown,
    percent,
    ranged,
)

NAMES = {REAL: "real pairs only", DUPLICATE: "real pairs twice"}

AT_EQUAL_NUMBERS = frozenset(("fid", "cmmd", "lite0_frechet"))  # biased upwards in small sets

OWN = "own"
OWN_NOTE = f"Masks {OWN}: the generator made each mask with its image."
RANGE_NOTE = "In brackets behind a score: its lowest and highest value over the trainings of the generator."

NOTE = (
    f"mDice and mIoU: of the foreground, per test image, in %; mean {PLUS_MINUS} standard deviation over seeds, with "
    f"the number of seeds behind mDice; 2 {TIMES} 3 are all pairs of 2 seeds of the generator and 3 of the segmenter, "
    "else the generator was trained once, and its spread is not covered. Gain: mDice minus that of real pairs only, "
    "seed by seed, in points. Volume: synthetic pairs as a multiple of the real ones; scores are those of "
    f"{TIMES}1, over the seeds of the generator where there are several. Bold: best mean among the cells with the most "
    "seeds of the segmenter; of FID, CMMD and Frechet distances, which fall with the number of images, only where all "
    f"rows have one number. {MISSING}: asked for, but not there yet or not computable; empty: not asked for."
)


def setting_name(setting: Setting) -> str:
    """Return a setting in words, such as "siamese, random masks, x2"."""
    return NAMES.get(setting.source, f"{setting.source}, {setting.masks} masks, {TIMES}{setting.multiple}")


def summary_text(summary: Summary, count: str = "", sign: str = "") -> str:
    """Return "71.2 +- 1.0 (2 of 3)": percentages, and what `counted` says where it is given."""
    if summary.mean is None:
        return MISSING
    spread = "" if summary.sd is None else f" {PLUS_MINUS} {percent(summary.sd)}"
    return f"{percent(summary.mean, sign)}{spread}{count and f' ({count})'}"


def text_table(table: Table) -> TextTable:
    """Return the printable table: the headline scores there are, then mDice, its gain and mIoU of each architecture.

    Best is the best value as printed, among the cells of the column that have the most seeds; all that tie are best.
    """
    settings = [row.setting for row in table.rows]
    columns: list[tuple[str, list[Cell]]] = [
        ("Trained on", [Cell(NAMES.get(one.source, one.source)) for one in settings]),
        ("Masks", [Cell(_masks(one, table)) for one in settings]),
        ("Volume", [Cell(_volume(row, table)) for row in table.rows]),
    ]
    groups = [("", 3)]
    headline = [
        name
        for name, score in SCORES.items()
        if score.headline and any(row.scores and row.scores.get(name) is not None for row in table.rows)
    ]
    for name in headline:
        texts = ["" if row.scores is None else _over_trainings(name, row.scores) for row in table.rows]
        values = [None if text in ("", MISSING) else float(text.split()[0]) for text in texts]
        numbers = {row.scores.get("n_synthetic") for row in table.rows if row.scores and row.scores.get(name)}
        better = "neither" if name in AT_EQUAL_NUMBERS and len(numbers) > 1 else SCORES[name].better
        columns.append((SCORES[name].label + ARROWS[SCORES[name].better], _mark(texts, values, better)))
    groups += [("Synthetic images", len(headline))] if headline else []
    for architecture in table.architectures:
        outcomes = [row.outcomes[architecture] for row in table.rows]
        real = table.baseline(REAL, architecture)
        gains = [differences(one.values["mDice"], real) for one in outcomes]
        texts = [
            "" if setting.source == REAL or not one.asked else summary_text(*_beside(gain, one), "+")
            for setting, one, gain in zip(settings, outcomes, gains, strict=True)
        ]
        columns.append(("mDice %" + ARROWS["higher"], _outcome_cells(outcomes, "mDice")))
        columns.append(("gain", [Cell(text) for text in texts]))
        columns.append(("mIoU %" + ARROWS["higher"], _outcome_cells(outcomes, "mIoU")))
        groups.append((architecture, 3))
    rows = [list(cells) for cells in zip(*(cells for _, cells in columns), strict=True)]
    return TextTable(groups, [title for title, _ in columns], rows)


def _over_trainings(name: str, scores: Metrics) -> str:
    return ranged(*(scores.get(name + end) for end in ("", "_low", "_high")))


def _volume(row: Row, table: Table) -> str:
    """Return the multiple; of a baseline, which has the pairs that it has, that of its number."""
    if row.setting.source not in table.baselines:
        return f"{TIMES}{row.setting.multiple}"
    return "" if row.setting.source in NAMES or row.volume is None else f"{TIMES}{row.volume:.3g}"


def _masks(setting: Setting, table: Table) -> str:
    if setting.source in table.baselines:
        return ""
    return OWN if setting.source in table.own_masks else setting.masks


def _beside(values: BySeeds, outcome: Outcome) -> tuple[Summary, str]:
    """Return the summary, and its number of runs where it is over others than the mDice beside it."""
    unusual = len(values) != len(outcome.values["mDice"])
    return summarize(values.values()), counted(values, outcome.asked) if unusual else ""


def _outcome_cells(outcomes: Sequence[Outcome], measure: str) -> list[Cell]:
    texts, means = [], []
    most = max((one.seeds(measure) for one in outcomes), default=0)
    for one in outcomes:
        values = one.values[measure]
        summary, count = _beside(values, one)
        count = counted(values, one.asked) if measure == "mDice" else count
        texts.append(summary_text(summary, count) if one.asked else "")
        full = summary.mean is not None and one.seeds(measure) == most
        means.append(round(100 * summary.mean, 1) if full else None)
    return _mark(texts, means, "higher")


def _mark(texts: Sequence[str], values: Sequence[float | None], better: str) -> list[Cell]:
    """Return cells; the best value, rounded as printed, is marked where there is something to compare it with."""
    known = [value for value in values if value is not None]
    if better == "neither" or len(set(known)) < 2:
        return [Cell(text) for text in texts]
    best = min(known) if better == "lower" else max(known)
    return [Cell(text, value == best) for text, value in zip(texts, values, strict=True)]


def tested_on(table: Table) -> list[str]:
    """Return the sentence about the number of test images, or none where no run recorded it."""
    return [f"Tested on {' or '.join(map(str, table.images))} images."] if table.images else []


def by_setting(runs: Iterable[Run]) -> dict[tuple[str, str, Setting], list[Run]]:
    """Return the runs of each data set, architecture and setting, in the order of first mention."""
    groups: dict[tuple[str, str, Setting], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.key.dataset, run.key.architecture, Setting(*run.key[2:5])), []).append(run)
    return groups


def earlier_table(runs: Sequence[Run]) -> TextTable:
    """Return the printable table of runs that nobody asks for now, one row a setting."""
    rows = []
    for (dataset, architecture, setting), group in by_setting(runs).items():
        seeds = {name: [run.key.seeds for run in group if run.metrics.get(name) is not None] for name in MEASURES}
        every = [run.key.seeds for run in group]
        sums = [summary_text(summary_of(group, name), counted(seeds[name], every)) for name in MEASURES]
        rows.append([Cell(text) for text in (dataset, architecture, setting_name(setting), *sums)])
    return TextTable([], ["Data set", "Architecture", "Trained on", "mDice %", "mIoU %"], rows)


def render_markdown(table: Table) -> str:
    """Return the table of one data set as a Markdown page."""
    text = text_table(table)
    titles = [
        f"{group} {column}" if group in table.architectures else column
        for group, column in zip(text.group_names(), text.columns, strict=True)
    ]
    return "\n".join([f"# {table.dataset}", "", *markdown(titles, text.rows, 3), "", note(table), ""])


def note(table: Table) -> str:
    """Return what stands below the table of a data set."""
    own = [OWN_NOTE] if any(_masks(row.setting, table) == OWN for row in table.rows) else []
    several = any(name.endswith("_low") for row in table.rows for name in row.scores or {})
    return " ".join([*tested_on(table), NOTE, *own, *([RANGE_NOTE] if several else [])])


def render_csv(dataset: str, runs: Sequence[Run], grid: Grid) -> str:
    """Return one line a run with every metric as it was read, 0-1: those asked for, there or not, then others."""
    found = {run.key: run for run in runs}
    asked = [key for key in dict.fromkeys(grid.runs) if key.dataset == dataset]
    others = [run.key for run in grid.earlier(runs) if run.key.dataset == dataset]
    names = sorted({name for run in runs if run.key.dataset == dataset for name in run.metrics})
    lines = [
        [*key, int(key in asked), *(found[key].metrics.get(name) if key in found else None for name in names)]
        for key in [*asked, *others]
    ]
    return csv_text([*RunKey._fields, "asked", *names], lines)


def render_scores_csv(dataset: str, scores: Sequence[Scores], grid: Grid) -> str:
    """Return one line a synthetic set with every score as it was read; empty where it could not be computed.

    Those that are asked for come first; others lie on disk, perhaps of pairs that were made otherwise.
    """
    keys = grid.scored_keys()
    mine = sorted((one for one in scores if one.dataset == dataset), key=lambda one: one.key not in keys)
    names = sorted({name for one in mine for name in one.metrics})
    lines = [[*one.key, int(one.key in keys), *(one.metrics.get(name) for name in names)] for one in mine]
    return csv_text([*SetKey._fields, "asked", *names], lines)


def render_series_csv(points: Sequence[Point]) -> str:
    """Return one curve for `dvc plots`: multiple, mean and deviation of mDice and mIoU (0-1), n, generators."""
    lines = [
        [one.multiple, one.mdice.mean, one.mdice.sd, one.miou.mean, one.miou.sd, one.mdice.n, one.generators]
        for one in points
    ]
    return csv_text(["multiple", "mDice", "mDice_sd", "mIoU", "mIoU_sd", "n", "generators"], lines)
