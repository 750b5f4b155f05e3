"""The default run, or the stages that are named and what they need, in a clone: times of stages, and what they found.

Beside each value stands the one that the commit records in results/, which is of the CPU. `wall_s` is what
`python -m pipeline repro` took, by this interpreter, without the installation that `make repro` begins with.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.runner import ROOT, end_tree

GENTLE_S = 8.0
VALUES = {"scores": "mask_fidelity", "segmentation": "mDice"}  # folder of results/ -> what is read of each file


def clone(folder: Path) -> None:
    """Copy the commit, or the tree where there is no git, into a folder that is a git checkout, as DVC wants it."""
    run = ["git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    if (ROOT / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        return
    built = shutil.ignore_patterns(".venv", ".work", "outputs", "processed", "raw", "__pycache__", "cache", "tmp")
    shutil.copytree(ROOT, folder, ignore=built, dirs_exist_ok=True)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "copy"]):
        subprocess.run([*run, *command], cwd=folder, check=True)


def recorded(folder: Path) -> dict[str, float]:
    """Return what results/ says: the name of a file and of its value -> the value."""
    found = {}
    for kind, key in VALUES.items():
        for path in sorted((folder / "results" / kind).rglob("*.json")):
            name = path.relative_to(folder / "results").with_suffix("")
            found[f"{name} {key}"] = json.loads(path.read_text())[key]
    return found


def repro(folder: Path, targets: list[str], seconds: float) -> tuple[int | None, float]:
    """Run the stages, at most so long, and return the exit code, None when it was stopped, and the seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    start = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "repro", *targets]
    process = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True)
    try:
        try:
            return process.wait(max(0.0, seconds - GENTLE_S)), time.monotonic() - start
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # stages end and DVC tidies up
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GENTLE_S / 2)
            return None, time.monotonic() - start
    finally:
        end_tree(process)


def stages(folder: Path) -> list[dict[str, Any]]:
    """Return the stages that ran, those that took longest first; device is null where a stage runs no network."""
    files = sorted((folder / ".work/times").glob("*.json"))
    rows = [json.loads(path.read_text()) for path in files]
    keys = ("stage", "seconds", "peak_mib", "device")
    return [{key: row[key] for key in keys} for row in sorted(rows, key=lambda row: -row["seconds"])]


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    with tempfile.TemporaryDirectory(dir=args.rows.parent) as name:
        folder = Path(name) / "clone"
        clone(folder)
        before = recorded(folder)
        for kind in VALUES:
            shutil.rmtree(folder / "results" / kind)  # what stands there afterwards is of this run
        code, wall_s = repro(folder, args.targets, until - time.monotonic())
        ran, found = stages(folder), recorded(folder)
    rows: list[dict[str, Any]] = [
        {
            "what": "run",
            "targets": args.targets or "all",
            "wall_s": wall_s if code == 0 else None,
            "reason": None if code == 0 else f"stopped after {wall_s:.0f} s" if code is None else f"exit code {code}",
            "stages_run": len(ran),
            "seconds_of_stages": sum(stage["seconds"] for stage in ran),
        }
    ]
    rows += [{"what": "stage", **stage} for stage in ran]
    for name, of_commit in before.items():
        missing = {} if name in found else {"reason": "its stage is not of the targets, or was not reached"}
        rows.append({"what": "value", "name": name, "value": found.get(name), "recorded_cpu": of_commit, **missing})
    with args.rows.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
