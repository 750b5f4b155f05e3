"""times: what every stage took on this machine, as table and CSV, and what that says of others.

The records lie in .work/times, so that no result depends on the machine.

A time is rough: a stage that went on from a checkpoint is recorded with the rest alone, and other stages on the same
machine slow it down.
"""

import argparse
import json
import os
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from data.pairs.files import is_main_process, write_json, write_text
from data.pairs.tables import csv_text
from pipeline.params.read import read_params
from pipeline.params.schema import Params
from pipeline.stages.segment_filtered import as_segment
from segmentation.config.architectures import ArchitectureRow

FOLDER = Path(".work/times")


class Record(NamedTuple):
    """One finished stage. `device` is a GPU's name, "cpu", or None where the stage runs no network."""

    stage: str
    kind: str
    seconds: float
    peak_mib: float
    device: str | None


def _network(row: ArchitectureRow) -> str:
    encoder = "" if row.network == "plain_unet" else f" {row.encoder_name()}"
    widths = [row.encoder_args, row.decoder_channels, row.input_px]
    return f"{row.network}{encoder} {json.dumps(widths, sort_keys=True)}"


def kind_of(verb: str, item: Mapping, params: Params) -> str:
    """Return the name that stages of about one length share: the verb, what it runs and the size of the images."""
    words = [verb]
    if "generator" in item:
        row = params.generators[item["generator"]]
        base = f"base {params.base.unet.channels}" if params.base.kind == "pretrain" else "sd1"
        words += [row.method, getattr(row, "mode", ""), getattr(row, "refine", "")]
        words += ["imported" if getattr(row, "weights", None) else "", f"on {base}"]
    if verb == "judge":
        words.append(_network(params.judge))
    if verb == "segment":
        words += [_network(params.architectures[item["architecture"]]), f"x{item['multiple']}"]
    if verb == "baseline":
        words.append(params.baselines[item["source"]].kind)
    if "extractor" in item:
        words.append(item["extractor"])
    if "dataset" in item:
        words.append(f"at {params.datasets[item['dataset']].size_px} px")
    return " ".join(filter(None, words))


def _device() -> str | None:
    torch = sys.modules.get("torch")  # a stage that did not import it ran no network
    if torch is None:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def record(verb: str, item: Mapping, seconds: float) -> None:
    """Write what the stage that just ended took; only under DVC, whose stage names are the keys, and only once."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None or verb == "check" or not is_main_process():
        return
    if verb == "segment_filtered":
        verb, item = "segment", as_segment(dict(item))
    kind = kind_of(verb, item, read_params(Path("params.yaml")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(FOLDER / f"{stage}.json", Record(stage, kind, seconds, peak, _device())._asdict())


def read_records() -> list[Record]:
    """Return every record, the oldest first. Raises: UserError when one is damaged."""
    records = []
    for path in sorted(FOLDER.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        try:
            values = json.loads(path.read_text())
            records.append(Record(*(values[field] for field in Record._fields)))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is no record of a stage", [str(error), "delete it"]) from error
    return records


def last_of_its_kind(stage: str, kind: str, records: Iterable[Record], device: str) -> Record | None:
    """Return the record of the stage itself, else the latest of its kind, on the same device; None without one."""
    same = [record for record in records if record.kind == kind and record.device in (None, device)]
    own = [record for record in same if record.stage == stage]
    return next(reversed(own or same), None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the option of the verb."""
    parser.add_argument("--out", type=Path, default=Path(".work"))


def run(item: dict[str, Any]) -> None:
    """Write times.csv into `out` and print the sums by kind of stage, the slowest first.

    It lies beside no result: times differ from run to run and from machine to machine, and results must not.

    Raises: UserError when nothing was measured yet.
    """
    out = item["out"]
    records = sorted(read_records(), key=lambda record: (-record.seconds, record.stage))
    if not records:
        raise UserError("no stage was measured here yet: run `dvc repro` or `python -m pipeline repro` first")
    lines = [(row.stage, row.kind, f"{row.seconds:.1f}", f"{row.peak_mib:.0f}", row.device) for row in records]
    write_text(out / "times.csv", csv_text(Record._fields, lines))
    verbs: dict[str, list[Record]] = {}
    for record in records:
        verbs.setdefault(record.stage.split("@")[0], []).append(record)
    sys.stdout.write(f"{'stage':<24}{'runs':>6}{'seconds':>10}{'peak MiB':>10}\n")
    for verb, runs in sorted(verbs.items(), key=lambda entry: -sum(record.seconds for record in entry[1])):
        seconds, peak = sum(record.seconds for record in runs), max(record.peak_mib for record in runs)
        sys.stdout.write(f"{verb:<24}{len(runs):>6}{seconds:>10.1f}{peak:>10.0f}\n")
    sys.stdout.write(f"every stage: {out / 'times.csv'}\n")
