"""The command line: python -m pipeline VERB. Nothing heavy is imported before a verb runs."""

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError, as_user_error
from data.pairs.files import is_main_process
from pipeline.commands import export as exporting
from pipeline.commands import mos
from pipeline.commands import weights as weighing
from pipeline.processes import leash
from pipeline.run import prefork

# verb -> what it does, and the options that identify its run
VERBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "check": ("check params.yaml, before DVC removes anything", ()),
    "acquire": ("fetch and unpack the archives of a data set, or take those that lie on disk", ("download",)),
    "prepare": ("read or draw the pairs of a data set and write them resized", ("dataset",)),
    "base": ("pretrain the base model, or find the one that params.yaml names", ("dataset",)),
    "latents": ("cache VAE posteriors and prompt embeddings", ("dataset",)),
    "masks": ("write the masks to sample from", ("dataset", "masks")),
    "refiner": ("train the segmenter that refines a generator, where one does", ("dataset", "generator")),
    "train": ("train a generator", ("dataset", "generator")),
    "sample": ("make one image for each mask", ("dataset", "generator", "masks")),
    "sample_volume": ("make the further multiples", ("dataset", "generator", "masks")),
    "sample_second_volume": ("make those of the second volume", ("dataset", "generator", "masks")),
    "baseline": ("write the pair sets that need no generator", ("dataset", "source")),
    "judge": ("train the segmenter that measures mask fidelity, on real pairs only", ("dataset",)),
    "features": ("extract the features of a pair set", ("dataset", "source", "masks", "extractor")),
    "inspect": ("measure every image of a pair set by itself", ("dataset", "source", "masks")),
    "score": ("score a pair set", ("dataset", "source", "masks")),
    "filter": ("drop pairs of a synthetic set", ("dataset", "generator", "masks", "filter")),
    "pictures": ("draw what the features and audits of a data set show", ("dataset",)),
    "segment": (
        "train and test a segmenter on real and added pairs",
        ("dataset", "source", "masks", "architecture", "multiple", "seed"),
    ),
    "segment_filtered": (
        "the same for a set that a filter has passed",
        ("dataset", "generator", "filter", "masks", "architecture", "seed"),
    ),
    "report": ("write tables, figures and the page from all results", ()),
}


STOPPING = (signal.SIGINT, signal.SIGTERM)
TRACEBACK = "SIAMESE_TRACEBACK"  # set, it shows where an error of the system came from


def _name_of(value: str, verb: str) -> str:
    """Return a row's name: as it is, or out of the name that DVC gives a stage, such as prepare@phantom."""
    return value.partition(f"{verb}@")[2] or value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline", description="The stages that `dvc repro` runs, and helpers.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (text, options) in VERBS.items():
        stage = verbs.add_parser(verb, help=text, description=text)
        for option in options:
            number = option in ("multiple", "seed")
            stage.add_argument(f"--{option}", required=True, type=int if number else partial(_name_of, verb=verb))
    show = verbs.add_parser("params", help="check params.yaml and print it resolved")
    show.add_argument("--file", type=Path, default=Path("params.yaml"))
    export = verbs.add_parser("export", help="write real and synthetic pairs in a format that other tools read")
    exporting.add_arguments(export)
    known = verbs.add_parser("datasets", help="list known data sets, print the rows of one or add them to params.yaml")
    known.add_argument("name", nargs="?", metavar="NAME")
    known.add_argument("--add", action="store_true", help="write the rows into params.yaml")
    known.add_argument("--file", type=Path, default=Path("params.yaml"))
    doctor = verbs.add_parser("doctor", help="look at a folder of pairs: layout, counts, faults, the row that reads it")
    doctor.add_argument("folder", type=Path, metavar="PATH")
    doctor.add_argument("--layout", help="take this layout instead of the first that fits")
    doctor.add_argument("--images", metavar="PATTERN", help='where the images are, such as "images/{id}.jpg"')
    doctor.add_argument("--masks", metavar="PATTERN", help='where their masks are, such as "gt/{id}_seg.png"')
    doctor.add_argument("--pairs", metavar="CSV", help="a table of image,mask[,split][,group][,id] in place of both")
    doctor.add_argument("--slices", metavar="YAML", help="of volumes: '{axis: 2, window: [-160, 240], keep: lesion}'")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.add_argument("--out", type=Path, help="write a picture of 12 pairs with the outlines of their masks")
    rating = verbs.add_parser("mos", help="write a blinded deck of images for raters, and score their answers")
    mos.add_arguments(rating)
    weights = verbs.add_parser("weights", help="list the pretrained weights of the paper's scores, or fetch them")
    weighing.add_arguments(weights)
    plan = verbs.add_parser("plan", help="what a params.yaml will run, what is cached, the time, the disk, what lacks")
    plan.add_argument("--file", type=Path, default=Path("params.yaml"), help="or a preset that is not in use yet")
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    preset = verbs.add_parser("preset", help="write params.yaml from a preset, or list the presets")
    preset.add_argument("name", nargs="?", metavar="NAME", help="a file of presets/ without .yaml")
    preset.add_argument("--out", type=Path, default=Path("params.yaml"))
    times = verbs.add_parser("times", help="what every stage took on this machine, as table, CSV and picture")
    times.add_argument("--out", type=Path, default=Path(".work"))
    verbs.add_parser("mend", help="put dvc.lock back as it was when it last was whole, after a kill of dvc has cut it")
    repro = verbs.add_parser("repro", help="dvc repro, several stages at a time: one on each GPU, or else on each core")
    repro.add_argument("targets", nargs="*", help="stages, with what they need; all without it")
    several = verbs.add_parser("tables", help="run the presets of all tables of the paper, or their toy twins")
    several.add_argument("kind", choices=("toy", "paper"))
    for runner in (repro, several):
        runner.add_argument("--jobs", type=int, help="how many at a time")
        runner.add_argument("--engine", default="local", help="local, or slurm (docs/scale.md)")
        runner.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of sbatch: time=60")
    return parser


def _stop_once(*_: object) -> None:
    """Interrupt this process, and let nothing that is said later disturb its tidying up."""
    for word in STOPPING:
        signal.signal(word, signal.SIG_IGN)
    raise KeyboardInterrupt


def _let_all_names_be_printed() -> None:
    """Print what no screen can show, such as bytes of Latin-1 in a file's name, as escapes; without stdout, nothing."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _refused(error: UserError) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{error}\n")
    try:
        sys.stdout.flush()
    except OSError:  # a full disk: what could not be written would be tried again at exit, in another message
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 2


@contextlib.contextmanager
def _after_the_main_process() -> Iterator[None]:
    """Hold an error of a further process back: the main one has the same to say and ends them all when it says so."""
    try:
        yield
    except Exception:
        if not is_main_process():
            time.sleep(5)
        raise


def _run_stage(verb: str, item: dict[str, Any], arguments: list[str]) -> int:
    """Run one stage, here or in several processes, and hold params.yaml and its inputs to what they were at its start.

    Raises: UserError when they have changed: DVC then records nothing.
    """
    from pipeline.params.schema import load_params
    from pipeline.plan.stage_times import record
    from pipeline.processes.torch_launch import PARALLEL, launch, nodes_to_use, processes_to_start
    from pipeline.record.lock_file import keep_copy
    from pipeline.record.snapshot import Snapshot

    if "DVC_STAGE" in os.environ:  # a shell's background ignores INT, `repro` lets DVC ignore TERM
        for word in STOPPING if "RANK" not in os.environ else STOPPING[:1]:
            signal.signal(word, _stop_once)
        if leash.VARIABLE not in os.environ:  # plain dvc, which may cut dvc.lock when it records this stage
            keep_copy()
    alone = "RANK" not in os.environ  # one of several is held to nothing: the process that started them is
    reads = importlib.import_module(f"pipeline.stages.{verb}").READS
    snapshot = Snapshot([key.format(**item) for key in reads.values()]) if alone else None
    params = load_params(reads, item)
    count, nodes = (processes_to_start(), nodes_to_use()) if verb in PARALLEL else (1, 1)
    if count * nodes > 1:
        code = launch(count, nodes, arguments)
        if code:
            return code
    else:
        start = time.monotonic()
        with _after_the_main_process():
            importlib.import_module(f"pipeline.stages.{verb}").run(item, params)
        record(verb, item, time.monotonic() - start)
    if snapshot:
        snapshot.check()
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, or 2 with a message when the user has something to mend."""
    _let_all_names_be_printed()
    item = vars(_parser().parse_args(argv))
    verb = item.pop("verb")
    try:
        if verb == "params":
            from pipeline.commands.params import show_params

            show_params(item["file"], sys.stdout)
            sys.stdout.flush()
        elif verb == "export":
            exporting.run(item)
        elif verb == "mos":
            mos.run(item)
        elif verb == "weights":
            weighing.run(item)
        elif verb == "datasets":
            from pipeline.commands import datasets

            datasets.run(item["name"], item["add"], item["file"])
        elif verb == "doctor":
            from pipeline.commands import doctor

            doctor.run(item)
        elif verb == "plan":
            from pipeline.plan import plan

            plan.run(item)
        elif verb == "preset":
            from pipeline.commands import preset

            preset.run(item["name"], item["out"])
        elif verb == "times":
            from pipeline.plan import times

            times.run(item["out"])
        elif verb == "mend":
            from pipeline.record import lock_file

            sys.stdout.write("\n".join([*(lock_file.mend() or ["nothing is broken"]), ""]))
        elif verb == "repro":
            from pipeline.run import repro

            repro.run(item["targets"], item["jobs"], item["engine"], item["set"])
        elif verb == "tables":
            from pipeline.run import tables

            tables.run(item["kind"], item["jobs"], item["engine"], item["set"])
        else:
            return _run_stage(verb, item, sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except UserError as error:
        return _refused(error)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        told = None if TRACEBACK in os.environ else as_user_error(error)
        if told is None:
            raise
        return _refused(told)
    return 0


def entry() -> int:
    """Run the command line of this process, in the prefork process where one answers, and return the exit code."""
    if sys.argv[1:2] and sys.argv[1] in VERBS:
        if leading := leash.leaders():
            leash.follow(leading)
        if (code := prefork.hand_over(sys.argv[1:])) is not None:
            return code
    return main()
