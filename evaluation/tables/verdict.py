"""What the runs of one architecture on one data set say, in plain words and never more than they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from evaluation.results.comparison import BySeed, Outcome, Table, by_segmenter_seed, differences, summarize
from evaluation.results.results import BASELINES, DUPLICATE, REAL
from evaluation.results.significance import Comparison
from evaluation.tables.significance_text import ONE_TRAINING, sentence
from evaluation.tables.tables import NAMES, setting_name, summary_text, tested_on
from evaluation.tables.text import percent

FEW_SEEDS = 3
ONE_SEED = (
    "One seed is no evidence that synthetic pairs help or hurt: how far results move from seed to seed is not known, "
    "and a test of one seed compares these networks on these images alone."
)

Tone = Literal["gain", "none", "open"]


@dataclass(frozen=True)
class Verdict:
    """A headline and the sentences under it.

    `tone` is gain only when tests found a gain over both baselines, and none only when one found a loss.
    """

    dataset: str
    architecture: str
    tone: Tone
    headline: str
    sentences: tuple[str, ...]


def judge(table: Table, architecture: str, tests: Sequence[Comparison] = ()) -> Verdict:
    """Return the verdict on the best synthetic setting against real pairs only and against real pairs used twice.

    Best is the highest mean mDice among the settings with the most runs. Comparisons are made seed by seed of the
    segmenter, of means over the trainings of the generator. `tests` of the data set decide whether more than chance is
    behind it; without them no gain is called one.
    """
    real, twice = (table.baseline(name, architecture) for name in (REAL, DUPLICATE))
    rows = [row for row in table.rows if row.setting.source not in table.baselines and row.outcomes[architecture].asked]
    done = [row for row in rows if row.outcomes[architecture].values["mDice"]]
    if not done or not real:
        lacking = "No run with real pairs only is there." if not real else "No run with synthetic pairs is there."
        return Verdict(table.dataset, architecture, "open", "Nothing to compare yet", (lacking,))
    rank = attrgetter("n", "mean")
    best = max(done, key=lambda row: rank(row.outcomes[architecture].summary("mDice")))
    outcome = best.outcomes[architecture]
    values = by_segmenter_seed(outcome.values["mDice"])
    gains, over_twice = (by_segmenter_seed(differences(outcome.values["mDice"], one)) for one in (real, twice))
    mine = [one for one in tests if (one.architecture, one.setting) == (architecture, best.setting)]
    tone, headline = _headline(gains, over_twice, mine)
    name = setting_name(best.setting)
    sentences = [_comparison(name, values, real, twice), *_evidence(gains, over_twice), *_trainings(outcome, real)]
    sentences += [sentence(one) for one in mine if one.estimate is not None]
    sentences += tested_on(table)
    if len(done) > 1:
        sentences.append(
            f"It is the best of {len(done)} synthetic settings, picked on the test images that it is judged by, "
            "which flatters it."
        )
    if waiting := len(rows) - len(done):
        verb = "has" if waiting == 1 else "have"
        sentences.append(f"{waiting} of {len(rows)} synthetic settings {verb} not run yet.")
    return Verdict(table.dataset, architecture, tone, headline, tuple(sentences))


def _headline(gains: BySeed, over_twice: BySeed, tests: Sequence[Comparison]) -> tuple[Tone, str]:
    """Return the tone and one line that agrees with the sentences of the tests: only they speak of gain and of none."""
    sure = [one for one in tests if one.baseline in BASELINES and one.believed and (one.found or len(gains) == 1)]
    higher = {NAMES[one.baseline]: one.estimate.mean > 0 for one in sure if one.estimate}
    better = [name for name in higher if higher[name]]
    worse = [name for name in higher if not higher[name]]
    over = f", than {better[0]} by more than chance explains" if better else ""
    if not gains:
        return "open", "Nothing to compare yet: no seed in common with real pairs only"
    if len(gains) == 1:
        words = [f"{how} than {' and '.join(names)}" for how, names in (("better", better), ("worse", worse)) if names]
        if not words:
            return "open", "No evidence either way: one seed"
        return "open", f"One seed: {' and '.join(words)} on these test images; another seed may turn that round"
    if worse:
        return "none", f"No gain over {' and '.join(worse)}: lower by more than chance explains"
    for title, by_seed in (("real pairs only", gains), ("real pairs twice", over_twice)):
        if by_seed and summarize(by_seed.values()).mean <= 0:
            return "open", f"Not higher on average than {title}; whether that is more than chance is not shown"
    if not over_twice:
        return "open", "Higher on average than real pairs only; not compared with real pairs twice"
    if len(gains) < FEW_SEEDS or len(over_twice) < FEW_SEEDS:
        return "open", f"Higher on average{over}; with too few seeds to rely on"
    if len(better) == len(BASELINES):
        return "gain", "Higher than both baselines, by more than chance explains"
    if better:
        return "open", f"Higher on average{over}"
    if min(gains.values()) > 0 and min(over_twice.values()) > 0:
        return "open", f"Higher than both baselines in each of {len(over_twice)} seeds; chance is not ruled out"
    return "open", "Unclear: higher on average, but not in every seed"


def _comparison(name: str, values: BySeed, real: BySeed, twice: BySeed) -> str:
    parts = [f"The best synthetic setting, {name}, reaches mDice {percent(summarize(values.values()).mean)} %"]
    for title, baseline in (("real pairs only", real), ("real pairs used twice", twice)):
        summary = summarize(values[seed] - baseline[seed] for seed in values if seed in baseline)
        if summary.mean is None:
            parts.append(f"no seed to compare with {title}")
            continue
        shared = summarize(baseline[seed] for seed in baseline if seed in values)
        seeds = f"{summary.n} seed{'s' if summary.n > 1 else ''}"
        gain = summary_text(summary, sign="+")
        parts.append(f"{gain} points against {title} ({percent(shared.mean)} %, {seeds})")
    return "; ".join(parts) + "."


def _evidence(gains: BySeed, over_twice: BySeed) -> list[str]:
    if len(gains) < 2:
        return [ONE_SEED] if gains else []
    counts = [
        f"{sum(gain > 0 for gain in by_seed.values())} of {len(by_seed)} seeds against {title}"
        for title, by_seed in (("real pairs only", gains), ("real pairs twice", over_twice))
        if by_seed
    ]
    return [f"It is higher in {' and in '.join(counts)}."]


def _trainings(outcome: Outcome, real: BySeed) -> list[str]:
    """Return what the trainings of the generator say of its spread; nothing where none made the pairs."""
    values = outcome.values["mDice"]
    generators = dict.fromkeys(generator for generator, _ in values if generator is not None)
    if len(generators) == 1:
        return [f"{ONE_TRAINING.capitalize()}."]
    gains = differences(values, real)
    means = [
        summarize(gain for (other, _), gain in gains.items() if other == generator).mean for generator in generators
    ]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        return []
    told = ", ".join(percent(mean, "+") for mean in known)
    return [f"Its {len(known)} generators, one a seed of training, gain {told} points against real pairs only."]
