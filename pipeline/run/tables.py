"""tables: the presets of the paper's tables, or their toy twins, all or some, one after the other, and one report."""

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.config_errors import dangling
from data.pairs.errors import UserError
from pipeline.params.presets import TABLES, composed, presets_of
from pipeline.params.read import check_text
from pipeline.processes.tasks import local_places
from pipeline.run.order import StoppedError
from pipeline.run.own_params import presets_in_place
from pipeline.run.prefork import warm_process
from pipeline.run.repro import add_runner_arguments, only_one, run_stages


def _checked(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the text of each preset. Raises: UserError naming every problem of every preset."""
    texts, problems = {}, []
    for path in paths:
        try:
            texts[path] = composed(path)
            check_text(texts[path], path)
        except UserError as error:
            problems += [error.title, *error.problems]
    if problems:
        raise UserError("presets are wrong, so nothing runs", problems)
    return texts


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("kind", choices=("toy", "paper"))
    text = f"these alone, of {', '.join(TABLES)}; all without it"
    parser.add_argument("--only", nargs="+", metavar="TABLE", help=text)
    add_runner_arguments(parser)


def chosen(item: Mapping[str, Any]) -> list[Path]:
    """Return the presets of a kind, of all tables or of some, in the paper's order. Raises: UserError for no table."""
    wanted = item["only"] or TABLES
    if unknown := [dangling("--only", name, TABLES) for name in wanted if name not in TABLES]:
        raise UserError("the paper has no such table", unknown)
    return presets_of(item["kind"], *(name for name in TABLES if name in wanted))


def run(item: dict[str, Any]) -> None:
    """Run the presets of a kind, paper or toy, of all tables or some, then the report; params.yaml is as it was then.

    What presets share is made once. When one fails, the others go on, and the report is that of the last that did not.

    Raises: UserError for a table that there is not and for presets that are wrong, before anything runs; else naming
    those that failed.
    """
    texts = _checked(chosen(item))
    for word in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(word) != signal.SIG_IGN:  # nohup
            signal.signal(word, _interrupt)
    failures: dict[str, str] = {}
    try:
        with only_one(), presets_in_place() as stand_in, warm_process(places=local_places()):

            def runs(path: Path, targets: list[str], without: set[str]) -> bool:
                stand_in(texts[path])
                try:
                    run_stages(item | {"targets": targets}, without)
                except StoppedError:
                    raise
                except UserError as error:
                    sys.stderr.write(f"{error}\n")
                    failures[f"{path}{': the report' if targets else ''}"] = error.title
                    return False
                return True

            last = None
            for number, path in enumerate(texts, 1):
                sys.stderr.write(f"preset {number} of {len(texts)}: {path}\n")
                last = path if runs(path, [], {"pictures", "report"}) else last
            if last:
                sys.stderr.write(f"report: all tables, and what {last} shows\n")
                runs(last, ["report"], set())
    except KeyboardInterrupt:
        raise StoppedError("stopped: what was running goes on from .work when this is run again") from None
    if failures:
        lines = [f"{name}: {reason}" for name, reason in failures.items()]
        title = f"failed: {len(failures)} of {len(texts) + 1}, with the report; their stages' logs: .work/logs"
        raise UserError(title, lines)
