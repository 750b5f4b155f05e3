"""times: what every stage took on this machine, as far as it was measured: a table, a CSV and a picture."""

import argparse
import sys
from pathlib import Path
from typing import Any

from data.pairs.csv_text import csv_text
from data.pairs.errors import UserError
from data.pairs.files import write_text
from pipeline.plan.stage_times import Record, read_records

MOST = 30  # bars
COLUMNS = ("stage", "kind", "seconds", "peak_mib", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the option of the verb."""
    parser.add_argument("--out", type=Path, default=Path(".work"))


def run(item: dict[str, Any]) -> None:
    """Write times.csv and times.png into `out` and print the sums by kind of stage, the slowest first.

    They lie beside no result: times differ from run to run and from machine to machine, and results must not.

    Raises: UserError when nothing was measured yet.
    """
    out = item["out"]
    records = sorted(read_records(), key=lambda record: (-record.seconds, record.stage))
    if not records:
        raise UserError("no stage was measured here yet: run `dvc repro` or `python -m pipeline repro` first")
    lines = [(row.stage, row.kind, f"{row.seconds:.1f}", f"{row.peak_mib:.0f}", row.device) for row in records]
    write_text(out / "times.csv", csv_text(COLUMNS, lines))
    _draw(records[:MOST], out / "times.png")
    verbs: dict[str, list[Record]] = {}
    for record in records:
        verbs.setdefault(record.stage.split("@")[0], []).append(record)
    sums = {verb: sum(record.seconds for record in runs) for verb, runs in verbs.items()}
    sys.stdout.write(f"{'stage':<24}{'runs':>6}{'seconds':>10}{'peak MiB':>10}\n")
    for verb in sorted(sums, key=sums.__getitem__, reverse=True):
        peak = max(record.peak_mib for record in verbs[verb])
        sys.stdout.write(f"{verb:<24}{len(verbs[verb]):>6}{sums[verb]:>10.1f}{peak:>10.0f}\n")
    sys.stdout.write(f"every stage: {out / 'times.csv'} and {out / 'times.png'}\n")


def _draw(records: list[Record], path: Path) -> None:
    """Write two panels of bars, time and memory of the slowest stages."""
    from matplotlib.figure import Figure
    from matplotlib.style import context

    names = [record.stage for record in records]
    with context("default"):
        figure = Figure(figsize=(11, 0.8 + 0.26 * len(names)), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(names, [record.seconds for record in records], color="#0072B2")
        right.barh(names, [record.peak_mib for record in records], color="#0072B2")
        left.set_xlabel("seconds")
        right.set_xlabel("peak memory, MiB")
        for panel in (left, right):
            panel.spines[["top", "right"]].set_visible(False)
        left.invert_yaxis()
        left.tick_params(axis="y", labelsize=7)
        figure.savefig(path, metadata={"Software": None})
