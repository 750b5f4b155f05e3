"""The command line: siamese-pairs VERB, or python -m pipeline VERB. Nothing heavy is imported before a verb runs."""

import argparse
import contextlib
import difflib
import importlib
import io
import os
import sys
from functools import partial
from pathlib import Path

from data.pairs.errors import UserError, as_user_error, one_line
from pipeline.params.blocks import NUMBERS
from pipeline.processes import leash
from pipeline.run import prefork
from pipeline.verbs import COMMANDS, VERBS, example, filled, overview, text_of

CONSOLE = "siamese-pairs"  # of pyproject.toml
TRACEBACK = "SIAMESE_TRACEBACK"  # set, it shows where an error of the system came from


def _row_name(value: str, verb: str) -> str:
    """Return a row's name: as it is, or out of the name that DVC gives a stage, such as prepare@phantom."""
    return value.partition(f"{verb}@")[2] or value


def _number(value: str) -> int | None:
    """Return a whole number, or None for an empty text: the seed of a generator where no generator made a set."""
    return int(value) if value else None


def _program() -> str:
    """Return what this was started as."""
    return CONSOLE if Path(sys.argv[0]).stem == CONSOLE else "python -m pipeline"


def _parser(verb: str) -> argparse.ArgumentParser:
    """Return the parser of all verbs; of the commands only that of `verb` is imported and has its arguments."""
    as_written, program = argparse.RawDescriptionHelpFormatter, _program()
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} VERB [options]",
        description=filled("Synthetic image-mask pairs: the stages that `dvc repro` runs, and what helps around them."),
        epilog=overview(program),
        formatter_class=as_written,
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", prog=program, help=argparse.SUPPRESS)
    for name in (*COMMANDS, *VERBS):
        epilog, text = f"example:\n  {program} {example(name)}", filled(text_of(name))
        one = verbs.add_parser(name, description=text, epilog=epilog, formatter_class=as_written)
        for option in VERBS[name][1] if name in VERBS else ():
            kind = _number if option in NUMBERS else partial(_row_name, verb=name)
            one.add_argument(f"--{option}", required=True, type=kind)
        if name == verb and name in COMMANDS:
            importlib.import_module(f"pipeline.{COMMANDS[name][1]}").add_arguments(one)
    return parser


def _refuse_unknown(verb: str) -> None:
    """Raise UserError for a word that is neither a verb nor an option."""
    if verb and not verb.startswith("-") and verb not in (*VERBS, *COMMANDS):
        near = difflib.get_close_matches(verb, (*COMMANDS, *VERBS), n=1, cutoff=0.5)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise UserError(f"there is no verb '{one_line(verb, 100)}'{hint}: {_program()} --help lists all")


def _let_all_names_be_printed() -> None:
    """Print what no screen can show, such as bytes of Latin-1 in a file's name, as escapes; without stdout, nothing."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(arguments: list[str]) -> int:
    _refuse_unknown(first := next(iter(arguments), ""))
    parser = _parser(first)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    item = vars(parser.parse_args(arguments))
    verb = item.pop("verb")
    if verb in VERBS:
        from pipeline.run.stage import run_stage

        return run_stage(verb, item, arguments)
    importlib.import_module(f"pipeline.{COMMANDS[verb][1]}").run(item)
    sys.stdout.flush()
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, or 2 with a message when the user has something to mend."""
    _let_all_names_be_printed()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        code = 0
    except Exception as error:
        problem = error if isinstance(error, UserError) else None if TRACEBACK in os.environ else as_user_error(error)
        if problem is None:
            raise
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{problem}\n")
        code = 2
    try:
        sys.stdout.flush()
    except OSError:  # a full disk, or no reader: what could not be written would be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _say_whose_code_runs() -> None:
    """Warn in the folder of another copy of this project: the console command runs the one that was installed."""
    here, ours = Path("pipeline/cli.py").resolve(), Path(__file__).resolve()
    if _program() == CONSOLE and here.is_file() and here != ours:
        sys.stderr.write(f"{CONSOLE} runs the code in {ours.parents[1]}; for the one here: python -m pipeline\n")


def entry() -> int:
    """Run the command line of this process, in the prefork process where one answers, and return the exit code."""
    _say_whose_code_runs()
    if sys.argv[1:2] and sys.argv[1] in VERBS:
        leash.follow_leaders()
        if (code := prefork.hand_over(sys.argv[1:])) is not None:
            return code
    return main()
