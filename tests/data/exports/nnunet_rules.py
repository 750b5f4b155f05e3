"""The published rules of nnU-Net v2 raw data sets, and ours for its folds: val is real, and kept out of train."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Case:
    """What the test knows of a training case."""

    group: str  # what must stay together: a group, or the case alone
    origins: tuple[str, ...] = ()  # groups that its mask comes from; empty for a real case


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _broken_files(folder: Path) -> Iterator[str]:
    about = json.loads((folder / "dataset.json").read_text())
    named = re.fullmatch(r"Dataset(\d{3})_[A-Za-z0-9]+", folder.name)
    if not named or int(named[1]) <= 10:
        yield "folder"
    if about["channel_names"] != {"0": "R", "1": "G", "2": "B"} or about["file_ending"] != ".png":
        yield "dataset.json"
    if sorted(about["labels"].values()) != list(range(len(about["labels"]))) or about["labels"]["background"]:
        yield "consecutive"
    if about["numTraining"] != len(_files(folder / "imagesTr")):
        yield "numTraining"
    for side in ("Tr", "Ts"):
        cases = [re.fullmatch(r"(.+)_0000\.png", name) for name in _files(folder / f"images{side}")]
        if not all(cases):
            yield "pattern"
        if [f"{case[1]}.png" for case in cases if case] != _files(folder / f"labels{side}"):
            yield "labelled"
        for case in filter(None, cases):
            label_file = folder / f"labels{side}" / f"{case[1]}.png"
            if label_file.exists():
                image, label = Image.open(folder / f"images{side}" / case[0]), Image.open(label_file)
                if (image.mode, label.mode) != ("RGB", "L") or image.size != label.size:
                    yield "shape"
                if np.asarray(label).max() >= len(about["labels"]):
                    yield "values"


def _broken_folds(folder: Path, known: dict[str, Case]) -> Iterator[str]:
    splits = json.loads((folder / "splits_final.json").read_text())
    cases = {name.removesuffix("_0000.png") for name in _files(folder / "imagesTr")}
    real = {name for name in known if not known[name].origins}
    held = [name for fold in splits for name in fold["val"]]
    if len(held) != len(set(held)):
        yield "disjoint"
    if not real <= set(held):
        yield "complete"
    for fold in splits:
        train, val = set(fold["train"]), set(fold["val"])
        if not train | val <= cases or train & val:
            yield "cases"
        if not val <= real or not val:
            yield "val is real"
        groups = {known[name].group for name in val & real}
        if any(known[name].group in groups for name in train & real):
            yield "groups"
        if any(groups & set(known[name].origins) for name in train - real if name in known):
            yield "leak"
        free = {name for name in known if not groups & {known[name].group, *known[name].origins}}
        if not free <= train:
            yield "rest"


def broken_rules(folder: Path, known: dict[str, Case]) -> set[str]:
    """Return the names of the rules that a data set breaks; `known` holds its training cases."""
    return {*_broken_files(folder), *_broken_folds(folder, known)}
