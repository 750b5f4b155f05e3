"""What `--set` gives to sbatch: every option but those that the launcher needs for itself."""

import math
import operator
import os
from collections.abc import Mapping, Sequence

from data.pairs.errors import UserError
from pipeline.processes.torch_launch import PARALLEL

TAKEN = (
    *("array", "chdir", "clusters", "error", "help", "job_name", "no_requeue", "open_mode", "output", "parsable"),
    *("quiet", "requeue", "signal", "test_only", "usage", "version", "wait", "wrap"),
)
WARNING_S = 90  # Slurm rounds this up by as much as a minute
LEAST_MINUTES = 4


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE options as a mapping; each `setup` adds a line. Raises: UserError for others."""
    wrong = [pair for pair in pairs if not pair.partition("=")[2]]
    if wrong:
        raise UserError("--set takes KEY=VALUE", wrong)
    settings: dict[str, str] = {}
    for key, value in (pair.split("=", 1) for pair in pairs):
        settings[key] = f"{settings[key]}\n{value}" if key == "setup" and key in settings else value
    return settings


def _seconds(time: str) -> int | None:
    """Return a time limit in any form that sbatch reads; None for others and for 0, which is no limit."""
    days, dash, rest = time.rpartition("-")
    numbers = rest.split(":")
    if len(numbers) > 3 or not all(number.isdecimal() for number in (*numbers, *([days] if dash else []))):
        return None
    units = (3600, 60, 1) if dash or len(numbers) == 3 else (60, 1)
    return int(days or 0) * 86400 + sum(map(operator.mul, map(int, numbers), units)) or None


def _problem(key: str, value: str) -> str | None:
    name = key.replace("-", "_")
    if name.startswith("ntasks") or "ntasks".startswith(name):
        return f"{key}: one stage is one task; SIAMESE_PROCESSES in the environment is the number of its processes"
    if any(taken.startswith(name) for taken in TAKEN):  # sbatch takes any beginning of an option for the whole
        return f"{key}: the launcher needs this for itself"
    if name == "nodes" and not (value.isdigit() and int(value)):
        return f"nodes is '{value}': a number is needed, such as 2"
    return None


def check(settings: Mapping[str, str]) -> None:
    """Raise UserError naming every setting that no job of a stage can have, with the reason."""
    problems = [text for key, value in sorted(settings.items()) if (text := _problem(key, value))]
    for name, time in (("time", settings.get("time")), ("SBATCH_TIMELIMIT", os.environ.get("SBATCH_TIMELIMIT"))):
        if time and (_seconds(time) or math.inf) < LEAST_MINUTES * 60:
            problems.append(f"{name} is '{time}': at least {LEAST_MINUTES} minutes are needed to stop in time")
    if problems:
        raise UserError("--set has what jobs of stages do not take", problems)


def options(stage: str, settings: Mapping[str, str]) -> list[str]:
    """Return sbatch's options for the job of a stage: several nodes are for the stages that several processes share."""
    given = {key.replace("_", "-"): value for key, value in settings.items() if key != "setup"}
    if "nodes" in given and not stage.startswith(PARALLEL):
        given["nodes"] = "1"
    return [f"--{key}" if value == "true" else f"--{key}={value}" for key, value in given.items()]
