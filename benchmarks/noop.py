"""The no-op of `dvc repro` on the shipped graph beside DVC's own floor: the same graph with `true` for every command.

Two graphs without code dependencies are run once and then timed when nothing is left to do:
"stubs" has the stages, data edges and params of dvc.yaml, and commands that only make their outputs;
"bare" has the same without `params`, which is what DVC's reading of params.yaml costs.
The shipped graph itself is timed with the same stub commands and all its code dependencies, so that no GPU and no
minutes are needed; `--here` times the repository as it stands in its place. Prints JSON as its last line.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
DVC = [sys.executable, "-m", "dvc"]
DATA = ("data/processed", "data/raw", "outputs", "results")


def _stub(stage: dict, code: bool, params: bool) -> dict:
    body = {key: value for key, value in stage.items() if key not in ("cmd", "deps", "params")}
    outs = [*stage.get("outs", []), *stage.get("metrics", [])]
    paths = [out if isinstance(out, str) else next(iter(out)) for out in outs]
    made = []
    for path in paths:
        if Path(re.sub(r"\$\{[^}]*\}", "", path)).suffix:
            made.append(f'mkdir -p "{Path(path).parent}" && echo {path} > "{path}"')
        else:  # parts that other stages name
            parts = ("train", "test", "1", "2", "x1", "x2", "x3", "real", "lite0")
            made.append("; ".join(f'mkdir -p "{path}/{part}" && echo {part} > "{path}/{part}/f"' for part in parts))
    deps = [dep for dep in stage["deps"] if code or dep.startswith(DATA)]
    return {
        "cmd": "; ".join(made),
        **body,
        **({"deps": deps} if deps else {}),
        **({"params": stage["params"]} if params and "params" in stage else {}),
    }


def _write(folder: Path, code: bool, params: bool) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if not name.startswith(("results/", "dvc.lock", "dvc.yaml")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    whole = YAML(typ="safe").load(ROOT / "dvc.yaml")
    stages = {}
    for name, stage in whole["stages"].items():
        inner = _stub(stage.get("do", stage), code, params)
        stages[name] = {"foreach": stage["foreach"], "do": inner} if "do" in stage else inner
    with (folder / "dvc.yaml").open("w") as file:
        YAML(typ="safe").dump({"stages": stages}, file)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _no_op(folder: Path) -> tuple[float, float]:
    """Return the seconds on the clock and on the CPU; the second hardly depends on what else the machine does."""
    start, used = time.perf_counter(), _cpu()
    done = subprocess.run([*DVC, "repro"], cwd=folder, capture_output=True, text=True, check=True)
    if "up to date" not in done.stdout + done.stderr:
        raise SystemExit(f"{folder} was not up to date")
    return time.perf_counter() - start, _cpu() - used


def main() -> None:
    """Build, run once, time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--here", action="store_true", help="time this repository too; it must be up to date")
    args = parser.parse_args()
    os.environ["DVC_NO_ANALYTICS"] = "1"
    graphs = {"shipped": (True, True), "stubs": (False, True), "bare": (False, False)}
    with tempfile.TemporaryDirectory() as root:
        for name, (code, params) in graphs.items():
            folder = Path(root) / name
            _write(folder, code, params)
            subprocess.run([*DVC, "repro", "--quiet"], cwd=folder, check=True)
        stages = len(YAML(typ="safe").load(Path(root) / "shipped/dvc.lock")["stages"])
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in graphs}
        for _ in range(args.rounds):  # in turn, because the machine is shared
            for name in graphs:
                taken[name].append(_no_op(Path(root) / name))
    if args.here:
        taken["here"] = [_no_op(ROOT) for _ in range(args.rounds)]
    clock, cpu = (
        {name: round(statistics.median(one[column] for one in values), 2) for name, values in taken.items()}
        for column in (0, 1)
    )
    result = {"stages": stages, "seconds": clock, "cpu_seconds": cpu}
    print(json.dumps({**result, "cpu_to_floor": round(cpu["shipped"] / cpu["stubs"], 2)}))  # noqa: T201


if __name__ == "__main__":
    main()
