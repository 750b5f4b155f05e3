"""plan: what a params.yaml will run, what is cached, how long it takes and how much it writes, before anything runs."""

import argparse
import functools
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from data.pairs.tables import read_table
from pipeline.params import paths
from pipeline.params.read import read_params
from pipeline.params.schema import Params
from pipeline.plan.dvc_states import Planned, plan_stages
from pipeline.plan.prerequisites import missing
from pipeline.plan.times import Record, kind_of, last_of_its_kind, read_records
from pipeline.processes.tasks import gpus
from pipeline.record.lock_file import mend

# Of a PNG image and its mask, where there are no prepared pairs to measure: 1.8 for phantoms and 1.7 for Kvasir-SEG at
# 64 px, 1.5 and 1.2 at 384 px.
BYTES_PER_PX = 1.7
GIB = 2**30


class Row(NamedTuple):
    """A stage of the plan, the record that says how long it takes, and its bytes; both rough, None where unknown."""

    stage: Planned
    record: Record | None
    bytes: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("--file", type=Path, default=Path("params.yaml"), help="or a preset that is not in use yet")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


@functools.cache
def _device() -> str:
    return next(iter(gpus()), "cpu")


@functools.cache
def _bytes_per_px(dataset: str, px: int) -> float:
    """Return the bytes of a pair per pixel, measured on the prepared training pairs where there are some."""
    folder = paths.processed(dataset, "train")
    files = [path for path in folder.rglob("*.png") if path.is_file()]
    masks = sum("masks" in path.parts for path in files)
    return sum(path.stat().st_size for path in files) / (masks * px) if masks else BYTES_PER_PX


@functools.cache
def _pairs(manifest: Path) -> int:
    return len(read_table(manifest, ("id",)))


def _pair_counts(params: Params, dataset: str) -> dict[str, int]:
    """Return split -> pairs: drawn ones by the row, else as prepared before, else as expected."""
    row = params.datasets[dataset]
    if row.kind == "phantom":
        drawn = {"train": row.train, "val": row.val, "test": row.test}
        drawn |= {name: test.count for name, test in row.tests.items()}
        return {split: count for split, count in drawn.items() if count is not None}
    counts = {path.parent.name: _pairs(path) for path in paths.processed(dataset).glob("*/manifest.csv")}
    return {split: min(count, row.limit.get(split, count)) for split, count in (counts or row.expect).items()}


def _written(stage: Planned, params: Params) -> int | None:
    """Return about how many bytes a stage writes: pairs by their number and size, the rest as in dvc.lock."""
    multiples = {
        "prepare": [1],
        "baseline": [0 if stage.item.get("source") == "real" else 1],
        "sample": [1],
        "filter": [1],
        "sample_volume": [int(stage.item.get("multiple") or 1)],
    }
    if stage.verb not in multiples:
        return stage.bytes
    dataset = str(stage.item["dataset"])
    counts = _pair_counts(params, dataset)
    if "train" not in counts:
        return None
    px = params.datasets[dataset].size_px ** 2
    count = sum(counts.values()) if stage.verb == "prepare" else counts["train"] * sum(multiples[stage.verb])
    return round(count * px * _bytes_per_px(dataset, px))


def make_plan(file: Path) -> tuple[list[Row], list[str]]:
    """Return the stages under `file` in order, and what they will not find. Raises: UserError for a wrong file."""
    params, records = read_params(file), read_records()
    rows = []
    for stage in plan_stages(file):
        kind = kind_of(stage.verb, stage.item, params)
        rows.append(Row(stage, last_of_its_kind(stage.name, kind, records, _device()), _written(stage, params)))
    problems = [line for row in _to_run(rows) for line in missing(row.stage.verb, row.stage.item, params)]
    return rows, list(dict.fromkeys(problems))


def _to_run(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.stage.state == "to run"]


def longest_chain(rows: Iterable[Row]) -> float:
    """Return the seconds of the slowest chain of stages that run one after the other: no number of workers beats it."""
    ends: dict[str, float] = {}
    for row in rows:
        own = row.record.seconds if row.record and row.stage.state == "to run" else 0.0
        ends[row.stage.name] = own + max((ends[name] for name in row.stage.needs), default=0.0)
    return max(ends.values(), default=0.0)


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= 0.1 * GIB else f"{count / 2**20:.1f} MiB"


def _line(kind: str, rows: list[Row]) -> str:
    states = Counter(row.stage.state for row in rows)
    run = _to_run(rows)
    timed = [row.record.seconds for row in run if row.record]
    time = f"about {_span(sum(timed))}" if timed else "not timed yet" if run else ""
    if timed and len(timed) < len(run):
        time += f", not timed yet for {len(run) - len(timed)}"
    counts = "".join(f"{states[state] or '-':>12}" for state in ("up to date", "cached", "to run"))
    return f"{kind:18}{len(rows):>7}{counts}   {time}".rstrip()


def _table(file: Path, rows: list[Row]) -> str:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.stage.name.split("@")[0], []).append(row)
    run = _to_run(rows)
    known = [row.bytes for row in run if row.bytes is not None]
    free = shutil.disk_usage(".").free
    disk = f"disk: about {_size(sum(known))}, {len(run) - len(known)} stages not counted; free: {_size(free)}"
    chain = longest_chain(rows)
    lines = [
        f"{file} on {_device()}",
        f"{'kind':18}{'stages':>7}{'up to date':>12}{'cached':>12}{'to run':>12}",
        *(_line(kind, group) for kind, group in groups.items()),
        _line("all", rows),
        *([f"the slowest chain, which no number of workers shortens: about {_span(chain)}"] if chain else []),
        f"{disk} (the DVC cache holds as much again unless it links)",
        "a stage after one that leaves the same bytes as before is skipped, so fewer may run",
        *(["not enough disk for what is counted"] if sum(known) > free else []),
    ]
    return "\n".join(lines) + "\n"


def _json(file: Path, rows: list[Row], problems: list[str]) -> str:
    stages = [
        {
            "stage": row.stage.name,
            "state": row.stage.state,
            "needs": sorted(row.stage.needs),
            "seconds": row.record and row.record.seconds,
            "measured_on": row.record and row.record.stage,
            "bytes": row.bytes,
        }
        for row in rows
    ]
    whole = {"file": str(file), "device": _device(), "longest_chain_seconds": longest_chain(rows), "missing": problems}
    return json.dumps({**whole, "stages": stages}, indent=2) + "\n"


def run(item: dict[str, Any]) -> None:
    """Print the plan. Raises: UserError for a wrong file, and with all that is missing, after the plan."""
    for line in mend():
        sys.stderr.write(f"{line}\n")
    rows, problems = make_plan(item["file"])
    sys.stdout.write(_json(item["file"], rows, problems) if item["json"] else _table(item["file"], rows))
    sys.stdout.flush()
    if problems:
        raise UserError(f"{item['file']}: what it needs is not all there", problems)
