"""The verbs of the command line: what each does, its options or its module, and the groups and examples of --help."""

import shutil
import textwrap

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
    "preset": ("write params.yaml from a preset, or list the presets", "commands.preset"),
    "params": ("check params.yaml and print it resolved", "commands.params"),
    "doctor": ("look at a folder of pairs: layout, counts, faults, the row that reads it", "commands.doctor"),
    "plan": ("what a params.yaml will run, what is cached, the time, the disk, what lacks", "plan.plan"),
    "repro": ("dvc repro, several stages at a time: one on each GPU, or else on each core", "run.repro"),
    "generate": ("make images for a folder of masks with a trained generator", "commands.generate"),
    "demo": ("a page to draw masks on, and what a trained generator makes of them", "commands.demo"),
    "export": ("write real and synthetic pairs in a format that other tools read", "commands.export"),
    "datasets": ("list known data sets, print the rows of one or add them to params.yaml", "commands.datasets"),
    "weights": ("list the pretrained weights of the paper's scores, or fetch them", "commands.weights"),
    "mos": ("write a blinded deck of images for raters, and score their answers", "commands.mos"),
    "tables": (
        "run the presets of the paper's tables, all or some, or their toy twins, and one report",
        "run.tables",
    ),
    "times": ("what every stage took on this machine, as table and CSV", "plan.times"),
    "mend": ("put dvc.lock back as it was when it last was whole, after a kill of dvc has cut it", "record.lock_file"),
}
EVERYDAY = ("preset", "params", "doctor", "plan", "repro", "report", "generate", "demo", "export")
GROUPS: dict[str, tuple[str, ...]] = {
    "every day": EVERYDAY,
    "data, weights, raters": ("datasets", "weights", "mos"),
    "the paper's tables, times, repair": ("tables", "times", "mend"),
    "stages, which repro and dvc call": tuple(verb for verb in VERBS if verb not in EVERYDAY),
}
# verb of a command -> arguments that do something useful in the default project
EXAMPLES = {
    "preset": "kvasir-seg-64",
    "params": "--file presets/kvasir-seg-64.yaml",
    "doctor": "/somewhere/my-pairs --out look.png",
    "plan": "--file presets/paper-table2.yaml",
    "repro": "train@phantom-siamese-0 --jobs 2",
    "generate": "--generator outputs/generators/phantom/siamese-g0 --masks my-masks --out made --per-mask 2",
    "demo": "--port 8080",
    "export": "--format nnunet --real data/processed/phantom --added outputs/samples/x1/phantom/siamese-g0-random "
    "--out export",
    "datasets": "kvasir-seg --add",
    "weights": "inception --fetch",
    "mos": "deck --dataset phantom --out deck",
    "tables": "toy --only table4",
    "times": "--out .work",
    "mend": "",
}
# option of a stage -> a value of the default project
VALUES = {
    "download": "kvasir-seg",
    "dataset": "phantom",
    "generator": "siamese",
    "generator_seed": "0",
    "masks": "random",
    "source": "siamese",
    "multiple": "1",
    "architecture": "unet",
    "seed": "0",
    "filter": "strict",
    "extractor": "lite0",
}
OTHER_VALUES = {"baseline": {"source": "duplicate"}, "sample_volume": {"multiple": "2"}}


def text_of(verb: str) -> str:
    """Return what a verb does, in one line."""
    return (VERBS.get(verb) or COMMANDS[verb])[0]


def example(verb: str) -> str:
    """Return an example of a verb with its arguments."""
    if verb in COMMANDS:
        return f"{verb} {EXAMPLES[verb]}".strip()
    values = VALUES | OTHER_VALUES.get(verb, {})
    return " ".join([verb, *(f"--{option} {values[option]}" for option in VERBS[verb][1])])


def filled(text: str, indent: str = "", hanging: str = "") -> str:
    """Return a text in lines that fit the screen, and at most 110 letters."""
    width = min(shutil.get_terminal_size().columns - 2, 110)
    return textwrap.fill(text, max(width, 40), initial_indent=indent, subsequent_indent=hanging)


def overview(program: str) -> str:
    """Return all verbs by group, each with what it does, and how to see more."""
    width = 2 + max(map(len, (*VERBS, *COMMANDS)))
    groups = []
    for title, verbs in GROUPS.items():
        lines = [filled(text_of(verb), f"    {verb:<{width}}", " " * (width + 4)) for verb in verbs]
        groups.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join([*groups, f"{program} VERB --help shows its options and an example."])
