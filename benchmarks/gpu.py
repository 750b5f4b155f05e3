"""What a GPU does with the default run and with Stable Diffusion 1.5's networks, in so many minutes.

    python benchmarks/gpu.py --minutes 9 [--out .work/gpu.json] [--parts step sampling] [--repro TARGET ...]

The parts run in falling order of worth, each in a process of its own with a time limit of its own, so that one that
fails, runs out of memory or hangs ends nothing else; what a part measured up to then is kept, with the reason. The JSON
is written whole after each part. docs/benchmarks.md says what each part measures. On a CPU the same code runs with toy
networks: those figures say nothing. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.on_gpu.cards import memory_table, one_line
from benchmarks.on_gpu.runner import ROOT, run_part
from data.pairs.files import write_json

LEAST_S = 10.0  # a process with torch and the networks starts in this time at best
RESERVED_S = 4.0  # for the end of the last part and the last JSON
FACTS_S = 60.0


class Planned(NamedTuple):
    """A part: its module in benchmarks/on_gpu, its options, and the share of the minutes that it may take."""

    module: str
    share: float
    options: tuple[str, ...] = ()
    gpu_alone: str | None = None  # why it does not run on a CPU


PARTS = {  # in falling order of worth
    "default_run": Planned("default_run", 0.22),
    "step": Planned("step_speed", 0.25),
    "sampling": Planned("sampling_speed", 0.15),
    "switches": Planned("switch_speed", 0.12),
    "memory": Planned("memory", 0.14),
    "compile": Planned("switch_speed", 0.2, ("--compile",)),
    "default_run_whole": Planned("default_run", 1.0, (), "on a CPU that is `make repro`"),
}
TARGETS = ("score@phantom-siamese-0-random", "segment@phantom-siamese-0-random-unet-1-0")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it ends, whatever is done")
    parser.add_argument("--out", type=Path, default=ROOT / ".work/gpu.json")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="the GPU where there is one")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--repro", nargs="+", default=list(TARGETS), help="stages of the part default_run")
    return parser.parse_args()


def _facts(seconds: float) -> dict[str, Any]:
    """Return the facts of the machine, or the reason why there are none."""
    command = [sys.executable, "-m", "benchmarks.on_gpu.machine"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        return {"device": None, "reason": f"{error}\n{error.stderr or ''}"}
    return json.loads(found.stdout.splitlines()[-1])


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "not a git checkout"


def _skipped(reason: str) -> dict[str, Any]:
    return {"status": "skipped", "reason": reason, "seconds": None, "limit_s": None, "rows": []}


def _run(name: str, device: str, targets: list[str], left: float, folder: Path) -> dict[str, Any]:
    """Run one part within what is left; a part plans for a little less than the time after which it is killed."""
    part = PARTS[name]
    rows = folder / f"{name}.jsonl"
    command = [sys.executable, "-m", f"benchmarks.on_gpu.{part.module}", *part.options, *targets]
    command += ["--device", device, "--seconds", str(0.95 * left), "--rows", str(rows)]
    outcome = run_part(command, rows, left)
    if name == "memory":
        table = memory_table(outcome["rows"])
        sizes = [row["size_px"] for row in outcome["rows"]]
        outcome |= {"cards": table, "line": one_line(table, sizes[0]) if sizes else None}
    return outcome


def main() -> None:
    """Run the parts and write what they found."""
    args = _arguments()
    until = time.monotonic() + 60 * args.minutes

    def left() -> float:
        return until - RESERVED_S - time.monotonic()

    parts: dict[str, dict[str, Any]] = {name: _skipped("not begun") for name in PARTS}
    machine = _facts(min(FACTS_S, max(0.1, left())))
    device = args.device or machine["device"] or "cpu"
    result = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": args.minutes,
        "commit": _commit(),
        "machine": machine,
        "device": device,
        "networks": "Stable Diffusion 1.5's layout, random weights" if device == "cuda" else "toy: figures say nothing",
        "parts": parts,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if name not in args.parts:
                parts[name] = _skipped("left out by --parts")
            elif part.gpu_alone and device == "cpu":
                parts[name] = _skipped(part.gpu_alone)
            elif left() < LEAST_S:
                parts[name] = _skipped(f"{max(0.0, left()):.0f} s of {args.minutes:g} minutes were left")
            else:
                targets = args.repro if name == "default_run" else []
                limit_s = min(left(), part.share * 60 * args.minutes)
                parts[name] = _run(name, device, targets, limit_s, Path(folder))
            write_json(args.out, result)
            reason = (parts[name]["reason"] or "").splitlines()
            sys.stdout.write(f"{name:18s} {parts[name]['status']:8s} {' '.join(reason[-1:])}\n")
            sys.stdout.flush()
    sys.stdout.write(
        json.dumps({"out": str(args.out), "parts": {name: parts[name]["status"] for name in PARTS}}) + "\n"
    )


if __name__ == "__main__":
    main()
