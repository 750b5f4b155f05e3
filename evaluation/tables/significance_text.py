"""What the comparisons of settings say, as a table and in sentences that never claim more than their intervals."""

from collections.abc import Sequence

from data.pairs.tables import csv_text
from evaluation.results.comparison import Setting
from evaluation.results.crossed_bootstrap import Estimate
from evaluation.results.results import BASELINES, RunKey
from evaluation.results.significance import BELIEVED, Comparison
from evaluation.tables.tables import NAMES, setting_name
from evaluation.tables.text import MISSING, TIMES, Cell, TextTable, markdown, percent

ONE_TRAINING = "one generator: its spread is not covered"
COLUMNS = ("points", "95 % interval", "p", "p, Holm", f"generators {TIMES} seeds {TIMES} images")
NOTE = (
    "Differences of mDice in points: mean over seeds and test images of the setting minus the baseline, pair by pair. "
    "The 95 % interval is of that comparison alone and covers new images, new seeds of the segmenter and new trainings "
    "of the generator as far as there are several of each: with one seed how much another would change is unknown, and "
    "of one generator the spread is not covered. Holm: p corrected for all comparisons with that "
    f"baseline. Bold: that p is below {BELIEVED}, with at least two seeds. {MISSING}: could not be compared, the CSV "
    f"file says why. Of other baselines {TIMES}1 is all of their pairs. How, and how far to trust it: "
    "docs/evaluation.md."
)


def sentence(comparison: Comparison) -> str:
    """Return what a comparison says in plain words, and no more than that."""
    synthetic, against = (
        f"ynthetic pairs ({setting_name(comparison.setting)})",
        NAMES.get(comparison.baseline, comparison.baseline),
    )
    estimate = comparison.estimate
    if estimate is None:
        return f"S{synthetic} could not be tested against {against}: {comparison.reason}."
    size = percent(estimate.mean, "+")
    several = "" if comparison.family == 1 else f" after correction for {comparison.family} comparisons"
    count = f"{estimate.seeds} seeds" if estimate.seeds > 1 else "1 seed"
    count = f"{estimate.generators} generators {TIMES} {count}" if estimate.generators > 1 else count
    corrected = f"p {_p_text(comparison.adjusted, '= ')}{several}"
    facts = f"95 % interval {_interval(estimate)}, {corrected}; {count}, {estimate.images} images"
    only = (
        "" if estimate.seeds > 1 else f"; over {_covers(estimate)} only: how much another seed would change is unknown"
    )
    only += f"; {ONE_TRAINING}" if comparison.one_training else ""
    if not comparison.believed:
        alone = f" Without correction p {_p_text(estimate.p, '= ')}." if estimate.p < BELIEVED else ""
        text = f"No evidence that s{synthetic} change what {comparison.architecture} reaches against {against}"
        return f"{text}: {size} points ({facts}{only}).{alone}"
    if estimate.seeds == 1:
        verb = "better" if estimate.mean > 0 else "worse"
        text = f"This one {comparison.architecture} with s{synthetic} is {verb} than the one with {against}"
        return f"{text}: {size} points ({facts}{only})."
    verb = "helped" if estimate.mean > 0 else "hurt"
    return f"S{synthetic} {verb} {comparison.architecture}: {size} points against {against} ({facts}{only})."


def _interval(estimate: Estimate) -> str:
    return f"{percent(estimate.low, '+')} to {percent(estimate.high, '+')}"


def _covers(estimate: Estimate) -> str:
    """Return what an interval is over."""
    parts = {"images": True, "seeds": estimate.seeds > 1, "generators": estimate.generators > 1}
    return " and ".join(name for name, several in parts.items() if several)


def _p_text(p: float, equals: str = "") -> str:
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def comparison_table(comparisons: Sequence[Comparison]) -> TextTable:
    """Return the printable table: a row for each setting and segmenter, beside it each baseline."""
    rows: dict[tuple[Setting, str], dict[str, Comparison]] = {}
    for comparison in comparisons:
        rows.setdefault((comparison.setting, comparison.architecture), {})[comparison.baseline] = comparison
    names = _baselines(comparisons) or BASELINES
    return TextTable(
        [("", 2), *((f"against {NAMES.get(name, name)}", len(COLUMNS)) for name in names)],
        ["Trained on", "Segmenter", *COLUMNS * len(names)],
        [
            [Cell(setting_name(setting)), Cell(segmenter), *(cell for name in names for cell in _cells(met.get(name)))]
            for (setting, segmenter), met in rows.items()
        ],
    )


def _baselines(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(comparison.baseline for comparison in comparisons))


def _cells(comparison: Comparison | None) -> list[Cell]:
    if comparison is None or comparison.estimate is None:
        return [Cell(MISSING)] * len(COLUMNS)
    estimate = comparison.estimate
    span = _interval(estimate) + (f" ({_covers(estimate)} only)" if estimate.seeds == 1 else "")
    generators = f"{estimate.generators if comparison.trained else MISSING} {TIMES} "
    count = f"{generators}{estimate.seeds} {TIMES} {estimate.images}"
    texts = [span, _p_text(estimate.p), _p_text(comparison.adjusted), count]
    return [Cell(percent(estimate.mean, "+"), comparison.found), *map(Cell, texts)]


def render_markdown(dataset: str, comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons of one data set as a Markdown page with a table for each baseline."""
    lines = [f"# {dataset}: is a difference real?", ""]
    for baseline in _baselines(comparisons) or BASELINES:
        rows = [
            [Cell(setting_name(comparison.setting)), Cell(comparison.architecture), *_cells(comparison)]
            for comparison in comparisons
            if comparison.baseline == baseline
        ]
        lines += [
            f"## Against {NAMES.get(baseline, baseline)}",
            "",
            *markdown(["Trained on", "Segmenter", *COLUMNS], rows, 2),
            "",
        ]
    return "\n".join([*lines, NOTE, ""])


def render_csv(dataset: str, comparisons: Sequence[Comparison]) -> str:
    """Return one line a comparison, 0-1, rounded to what the draws can carry; the reason where there is no value."""
    measured = ("mean", "low", "high", "p", "seeds", "images", "generators")
    lines = []
    for comparison in comparisons:
        estimate = comparison.estimate
        values = [*(getattr(estimate, name, None) for name in measured), comparison.adjusted]
        rounded = [None if value is None else round(value, 6) for value in values]
        covers = "" if estimate is None else _covers(estimate)
        key = [dataset, comparison.architecture, *comparison.setting, comparison.baseline]
        counts = [comparison.family, comparison.seeds_left_out, comparison.images_left_out]
        lines.append([*key, *rounded, *counts, covers, comparison.reason])
    last = ("p_holm", "comparisons", "seeds_left_out", "images_left_out", "covers", "reason")
    return csv_text([*RunKey._fields[:5], "baseline", "difference", *measured[1:], *last], lines)
