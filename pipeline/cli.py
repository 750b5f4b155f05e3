"""The command line: python -m pipeline VERB. Nothing heavy is imported before a verb runs."""

import argparse
import contextlib
import importlib
import io
import os
import sys
from functools import partial

from data.pairs.errors import UserError, as_user_error
from pipeline.params.blocks import NUMBERS
from pipeline.processes import leash
from pipeline.run import prefork

TRACEBACK = "SIAMESE_TRACEBACK"  # set, it shows where an error of the system came from
# verb of a stage -> what it does, and the options that identify its run
VERBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "check": ("check params.yaml, before DVC removes anything", ()),
    "acquire": ("fetch and unpack the archives of a data set, or take those that lie on disk", ("download",)),
    "prepare": ("read or draw the pairs of a data set and write them resized", ("dataset",)),
    "base": ("pretrain the base model, or find the one that params.yaml names", ("dataset",)),
    "latents": ("cache VAE posteriors and prompt embeddings", ("dataset",)),
    "masks": ("write the masks to sample from", ("dataset", "masks")),
    "refiner": ("train the segmenter that refines a generator, where one does", ("dataset", "generator")),
    "train": ("train a generator", ("dataset", "generator", "generator_seed")),
    "sample": ("make one image for each mask", ("dataset", "generator", "generator_seed", "masks")),
    "sample_volume": (
        "make a multiple, or 1x of further masks",
        ("dataset", "generator", "generator_seed", "masks", "multiple"),
    ),
    "baseline": ("write the pair sets that need no generator", ("dataset", "source")),
    "judge": ("train the segmenter that measures mask fidelity, on real pairs only", ("dataset",)),
    "features": ("extract the features of a pair set", ("dataset", "source", "generator_seed", "masks", "extractor")),
    "inspect": ("measure every image of a pair set by itself", ("dataset", "source", "generator_seed", "masks")),
    "score": ("score a pair set", ("dataset", "source", "generator_seed", "masks")),
    "filter": (
        "drop pairs of a synthetic set, or keep the best of several draws",
        ("dataset", "generator", "generator_seed", "masks", "filter"),
    ),
    "pictures": ("draw what the features and audits of a data set show", ("dataset",)),
    "segment": (
        "train and test a segmenter on real and added pairs",
        ("dataset", "source", "generator_seed", "masks", "architecture", "multiple", "seed"),
    ),
    "segment_filtered": (
        "the same for a set that a filter has passed",
        ("dataset", "generator", "filter", "generator_seed", "masks", "architecture", "seed"),
    ),
    "report": ("write tables, figures and the page from all results", ()),
}
# verb of a command -> what it does, and the module of its arguments and of what it runs
COMMANDS: dict[str, tuple[str, str]] = {
    "params": ("check params.yaml and print it resolved", "commands.params"),
    "export": ("write real and synthetic pairs in a format that other tools read", "commands.export"),
    "datasets": ("list known data sets, print the rows of one or add them to params.yaml", "commands.datasets"),
    "doctor": ("look at a folder of pairs: layout, counts, faults, the row that reads it", "commands.doctor"),
    "mos": ("write a blinded deck of images for raters, and score their answers", "commands.mos"),
    "weights": ("list the pretrained weights of the paper's scores, or fetch them", "commands.weights"),
    "plan": ("what a params.yaml will run, what is cached, the time, the disk, what lacks", "plan.plan"),
    "preset": ("write params.yaml from a preset, or list the presets", "commands.preset"),
    "times": ("what every stage took on this machine, as table and CSV", "plan.times"),
    "mend": ("put dvc.lock back as it was when it last was whole, after a kill of dvc has cut it", "record.lock_file"),
    "repro": ("dvc repro, several stages at a time: one on each GPU, or else on each core", "run.repro"),
    "tables": ("run the presets of all tables of the paper, or their toy twins, and one report", "run.tables"),
}


def _row_name(value: str, verb: str) -> str:
    """Return a row's name: as it is, or out of the name that DVC gives a stage, such as prepare@phantom."""
    return value.partition(f"{verb}@")[2] or value


def _number(value: str) -> int | None:
    """Return a whole number, or None for an empty text: the seed of a generator where no generator made a set."""
    return int(value) if value else None


def _parser(verb: str) -> argparse.ArgumentParser:
    """Return the parser of all verbs; of the commands only that of `verb` is imported and has its arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline", description="The stages that `dvc repro` runs, and helpers.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (text, options) in VERBS.items():
        stage = verbs.add_parser(name, help=text, description=text)
        for option in options:
            kind = _number if option in NUMBERS else partial(_row_name, verb=name)
            stage.add_argument(f"--{option}", required=True, type=kind)
    for name, (text, module) in COMMANDS.items():
        command = verbs.add_parser(name, help=text)
        if name == verb:
            importlib.import_module(f"pipeline.{module}").add_arguments(command)
    return parser


def _let_all_names_be_printed() -> None:
    """Print what no screen can show, such as bytes of Latin-1 in a file's name, as escapes; without stdout, nothing."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(arguments: list[str]) -> int:
    item = vars(_parser(next(iter(arguments), "")).parse_args(arguments))
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


def entry() -> int:
    """Run the command line of this process, in the prefork process where one answers, and return the exit code."""
    if sys.argv[1:2] and sys.argv[1] in VERBS:
        leash.follow_leaders()
        if (code := prefork.hand_over(sys.argv[1:])) is not None:
            return code
    return main()
