"""How long stages took, kept in .work/times so that no result depends on the machine, and what that says of others.

A rate is rough: time is taken to grow with the work, so a start of some seconds is scaled too; a stage that went on
from a checkpoint is recorded with the rest alone; other stages on the same machine slow it down.
"""

import csv
import functools
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from data.pairs.errors import UserError
from data.pairs.files import is_main_process, write_json
from pipeline.params import paths
from pipeline.params.read import read_params
from pipeline.params.schema import Params
from pipeline.stages.segment_filtered import as_segment
from segmentation.config.architectures import ArchitectureRow

FOLDER = Path(".work/times")


class Record(NamedTuple):
    """One finished stage. `device` is a GPU's name, "cpu", or None where the stage runs no network."""

    stage: str
    kind: str
    work: float | None
    seconds: float
    peak_mib: float
    device: str | None


class Estimate(NamedTuple):
    """About how long a stage takes, and the stage that this was measured on; None, None without a rate."""

    seconds: float | None
    measured_on: str | None


@functools.cache
def _rows(manifest: Path) -> int:
    with manifest.open(newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def pair_counts(params: Params, dataset: str) -> dict[str, int] | None:
    """Return split -> pairs: drawn ones by the row, else as prepared before, else as expected; else None."""
    row = params.datasets[dataset]
    if row.kind == "phantom":
        drawn = {"train": row.train, "val": row.val, "test": row.test} | {n: one.count for n, one in row.tests.items()}
        return {split: count for split, count in drawn.items() if count is not None}
    counts = {path.parent.name: _rows(path) for path in paths.processed(dataset).glob("*/manifest.csv")}
    counts = counts or dict(row.expect)
    if "train" not in counts:
        return None
    return {split: min(count, row.limit.get(split, count)) for split, count in counts.items()}


def _training(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    steps = params.training.steps_of.get(str(item["dataset"]), params.training.steps)
    own = {"steps": steps, "batch": params.training.batch} | params.generators[item["generator"]].own_training()
    return own["steps"] * own["batch"] * px


def _base(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    if params.base.kind != "pretrain":
        return 1.0
    vae, unet = params.base.vae, params.base.unet
    return vae.steps * vae.batch * vae.crop_px**2 + unet.steps * unet.batch * px


def _sampling(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    guided = params.sampling.steps * (1 if params.sampling.guidance == 1 else 2)
    passes = getattr(params.generators[item["generator"]], "sample_steps", guided)  # in pixels: the row's own
    return pairs["train"] * passes * px


def _volume(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    """Return the pixels of what smaller multiples have not drawn."""
    multiples = [*params.volume.multiples, *([1] if item["masks"] in params.comparison.masks else [])]
    drawn = max((multiple for multiple in multiples if multiple < item["multiple"]), default=0)
    return _sampling(item, params, pairs, px) * (item["multiple"] - drawn)


def _segmenter(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    row = params.architectures[item["architecture"]]
    added = 0 if item["source"] == "real" or row.budget == "equal_steps" else item["multiple"]
    return row.epochs * pairs["train"] * (1 + added) * row.input_px**2


def _judge(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    return params.judge.epochs * pairs["train"] * params.judge.input_px**2


def _refiner(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    return _judge(item, params, pairs, px) if _refines(item, params) else 1.0


def _refines(item: Mapping, params: Params) -> bool:
    return getattr(params.generators[item["generator"]], "refine", "off") != "off"


def _images(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    """Return pixels: of all pairs of a data set, or of a set as large as the training pairs."""
    every = item.get("source", "real") == "real" and item.get("masks", "real") == "real" and "generator" not in item
    return (sum(pairs.values()) if every else pairs["train"]) * px


def _copies(item: Mapping, params: Params, pairs: Mapping[str, int], px: int) -> float:
    return params.masks[item["masks"]].copies * pairs["train"] * px


# verb -> what grows with its time: pixels through a network, or pixels read and written
WORK: dict[str, Callable[[Mapping, Params, Mapping[str, int], int], float]] = {
    **dict.fromkeys(("prepare", "latents", "baseline", "features", "inspect", "score", "filter", "pictures"), _images),
    "base": _base,
    "masks": _copies,
    "train": _training,
    "sample": _sampling,
    "sample_volume": _volume,
    "judge": _judge,
    "refiner": _refiner,
    "segment": _segmenter,
}


def work_of(verb: str, item: Mapping, params: Params) -> float | None:
    """Return the work of a stage in pixels (see WORK); None when the pairs were never counted, or matter little."""
    dataset = str(item.get("dataset"))
    pairs = pair_counts(params, dataset) if dataset in params.datasets else None
    if pairs is None or verb not in WORK:
        return None
    return float(WORK[verb](item, params, pairs, params.datasets[dataset].size_px ** 2))


def kind_of(verb: str, item: Mapping, params: Params) -> str:
    """Return the name that stages of one rate share: the verb and what it runs."""
    if verb in ("train", "sample", "sample_volume"):
        row = params.generators[item["generator"]]
        base = f"base {params.base.unet.channels}" if params.base.kind == "pretrain" else "sd1"
        weights = "imported " if verb == "train" and getattr(row, "weights", None) else ""
        kind = " ".join([row.method, getattr(row, "mode", ""), getattr(row, "refine", "") if verb == "train" else ""])
        return f"{'train' if verb == 'train' else 'sample'} {weights}{kind.strip()} on {base}"
    if verb == "segment":
        return f"segment {_network(params.architectures[item['architecture']])}"
    if verb == "judge" or (verb == "refiner" and _refines(item, params)):
        return f"{verb} {_network(params.judge)}"
    if verb == "baseline":
        return f"baseline {params.baselines[item['source']].kind}"
    return f"features {item['extractor']}" if verb == "features" else verb


def _network(row: ArchitectureRow) -> str:
    encoder = "" if row.network == "plain_unet" else f" {row.encoder_name()}"
    widths = [row.encoder_args, row.decoder_channels]
    return f"{row.network}{encoder} {json.dumps(widths, sort_keys=True)}"


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
    params = read_params(Path("params.yaml"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = Record(stage, kind_of(verb, item, params), work_of(verb, item, params), seconds, peak, _device())
    write_json(FOLDER / f"{stage}.json", took._asdict())


def read_records() -> list[Record]:
    """Return every record. Raises: UserError when one is damaged."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        try:
            found.append(Record(**json.loads(path.read_text())))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is no record of a stage", [str(error), "delete it"]) from error
    return found


def estimate(stage: str, kind: str, work: float | None, records: Iterable[Record], device: str) -> Estimate:
    """Return the time of the stage itself, else that of the same kind on the same device, scaled by the work.

    Among several the stage itself comes first, then that with the nearest work.
    """
    known = [one for one in records if one.kind == kind and one.device in (None, device)]
    if work is None:
        known = [one for one in known if one.stage == stage]
        return Estimate(known[0].seconds, known[0].stage) if known else Estimate(None, None)
    measured = [(abs(math.log(work / one.work)), one.stage != stage, one) for one in known if one.work]
    if not measured:
        return Estimate(None, None)
    _, _, nearest = min(measured, key=lambda entry: entry[:2])
    return Estimate(nearest.seconds * work / (nearest.work or work), nearest.stage)
