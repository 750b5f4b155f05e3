"""Calls in a process of their own, so that their peak of memory is theirs alone; imports nothing heavy."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def in_process(module: str, call: str) -> str:
    """Return the last line that a call of a function of a benchmark's module prints, or what it returns."""
    code = f"from pathlib import Path; import {module} as benchmark; print(benchmark.{call})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]
