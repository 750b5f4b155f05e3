"""times: what every stage took on this machine, as far as it was measured: a table, a CSV and a picture."""

import sys
from pathlib import Path

from data.pairs.csv_text import csv_text
from data.pairs.errors import UserError
from data.pairs.files import write_text
from pipeline.plan.stage_times import Record, read_records

MOST = 30  # bars
COLUMNS = ("stage", "kind", "seconds", "peak_mib", "device")


def run(out: Path) -> None:
    """Write out/times.csv and out/times.png and print the sums by kind of stage, the slowest first.

    They lie beside no result: times differ from run to run and from machine to machine, and results must not.

    Raises: UserError when nothing was measured yet.
    """
    records = sorted(read_records(), key=lambda one: -one.seconds)
    if not records:
        raise UserError("no stage was measured here yet: run `dvc repro` or `python -m pipeline repro` first")
    lines = [(one.stage, one.kind, f"{one.seconds:.1f}", f"{one.peak_mib:.0f}", one.device) for one in records]
    write_text(out / "times.csv", csv_text(COLUMNS, lines))
    _draw(records[:MOST], out / "times.png")
    kinds: dict[str, list[Record]] = {}
    for one in records:
        kinds.setdefault(one.stage.split("@")[0], []).append(one)
    sys.stdout.write(f"{'stage':<24}{'runs':>6}{'seconds':>10}{'peak MiB':>10}\n")
    for name, found in sorted(kinds.items(), key=lambda entry: -sum(one.seconds for one in entry[1])):
        seconds, peak = sum(one.seconds for one in found), max(one.peak_mib for one in found)
        sys.stdout.write(f"{name:<24}{len(found):>6}{seconds:>10.1f}{peak:>10.0f}\n")
    sys.stdout.write(f"every stage: {out / 'times.csv'} and {out / 'times.png'}\n")


def _draw(records: list[Record], path: Path) -> None:
    """Write two panels of bars, time and memory of the slowest stages."""
    from matplotlib.figure import Figure
    from matplotlib.style import context

    names = [one.stage for one in records]
    with context("default"):
        figure = Figure(figsize=(11, 0.8 + 0.26 * len(names)), dpi=110, layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for panel, values, label in zip(
            panels,
            ([one.seconds for one in records], [one.peak_mib for one in records]),
            ("seconds", "peak memory, MiB"),
            strict=True,
        ):
            panel.barh(names, values, color="#0072B2")
            panel.set_xlabel(label)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].invert_yaxis()
        panels[0].tick_params(axis="y", labelsize=7)
        figure.savefig(path, metadata={"Software": None})
