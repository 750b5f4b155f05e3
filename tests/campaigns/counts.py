"""The command line that campaigns share: counts as JSON in the last line, exit code 1 if any of them is a failure."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any


def parser(text: str | None, seed: int) -> argparse.ArgumentParser:
    """Return a parser that says what the campaign is and takes the seed of what it draws."""
    options = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=seed)
    return options


def report(counts: dict[str, Any], failures: Iterable[str]) -> int:
    """Print the counts and return the exit code: 1 if those named `failures` are not all zero or empty."""
    sys.stdout.write(json.dumps(counts) + "\n")
    return int(any(counts[name] for name in failures))


def main(run: Callable[[int, int], dict[str, Any]], text: str | None, cases: int) -> int:
    """Run a campaign of so many cases, or of as many as the command line says, and return the exit code."""
    options = parser(text, seed=7)
    options.add_argument("--cases", type=int, default=cases)
    given = options.parse_args()
    return report(run(given.cases, given.seed), ["failures"])
