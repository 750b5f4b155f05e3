"""The labels of nnU-Net's dataset.json: classes, regions that overlap, and the label of unlabelled pixels."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWN_MEANING = ("background", "ignore")


@dataclass(frozen=True)
class Labels:
    """What dataset.json says of the values in the masks."""

    classes: Mapping[str, int]  # name -> label, without the background
    ignored: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[int, ...]:
        """All labels that masks may hold beside 0."""
        return (*self.classes.values(), *self.ignored)


def read_nnunet_labels(path: Path) -> Labels:
    """Return what a dataset.json says, or no classes where there is none.

    Labels that lie in several regions become classes of their own, named after the smallest region that holds them.
    `problems` says what cannot be used.
    """
    if not path.exists():
        return Labels({})
    try:
        labels = json.loads(path.read_text(encoding="utf-8-sig"))["labels"]
        values = {str(name): _numbers(value) for name, value in _by_name(labels).items()}
        values = {name.lower() if name.lower() in OWN_MEANING else name: numbers for name, numbers in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Labels({}, problems=(f"{path}: its `labels` cannot be read: {error!r}; {{name: number}} is needed",))
    background = values.pop("background", (0,))
    ignored = values.pop("ignore", ())
    problems = [] if background == (0,) else [f"{path}: its `labels` give background {background}, not 0"]
    problems += [f"{path}: its `labels` give {name} the 0 of the background" for name, v in values.items() if 0 in v]
    problems += [f"{path}: its `labels` give {name} no number" for name, v in values.items() if not v]
    if {0, *(number for numbers in values.values() for number in numbers)} & set(ignored):
        problems.append(f"{path}: its `labels` give ignore {list(ignored)}, which is another's")
    if problems:
        return Labels({}, problems=tuple(problems))
    smallest: dict[int, str] = {}  # label -> the smallest region that holds it
    for name, numbers in sorted(values.items(), key=lambda item: len(item[1])):
        for number in numbers:
            smallest.setdefault(number, name)
    classes = {name: number for number, name in class_names(smallest).items()}
    notes = [
        f"{name} of dataset.json is {' and '.join(other for other, number in classes.items() if number in numbers)}"
        for name, numbers in values.items()
        if len(numbers) > 1
    ]
    if ignored:
        notes.append(f"{list(ignored)} of dataset.json is ignore: nobody labelled these pixels, they become background")
    return Labels(classes, ignored, tuple(notes))


def _by_name(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Return name -> number, also of the older form "1": "lesion"."""
    older = all(str(key).isdigit() and isinstance(value, str) and not value.isdigit() for key, value in labels.items())
    if not older:
        return dict(labels)
    if len(set(labels.values())) < len(labels):
        raise ValueError("a name stands twice")
    return {name: int(number) for number, name in labels.items()}


def _numbers(value: Any) -> tuple[int, ...]:
    given = value if isinstance(value, list) else [value]
    numbers = tuple(int(number) for number in given)
    if any(isinstance(number, bool) or float(number) != int(number) or not 0 <= int(number) <= 255 for number in given):
        raise ValueError(f"{value!r} is no label of 0 to 255")
    return numbers


def class_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return number -> name as a row may have it, sorted; the number follows where two names come out alike."""
    plain = {number: re.sub(r"[^A-Za-z0-9_ -]", "-", name).strip(" -_") or "class" for number, name in names.items()}
    counts = Counter(plain.values())
    return {number: name if counts[name] == 1 else f"{name}-{number}" for number, name in sorted(plain.items())}
