"""What every section of params.yaml is made of: the strict base class and types that several of them share."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Config(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
# A split is a folder of the prepared data set, so its name must not lead out of it.
SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


def _whole_path(path: str) -> str:
    """Return a path that DVC can watch as it is written. Raises: ValueError for one that it cannot."""
    if not path.strip():
        raise ValueError("is empty: write where the pairs are")
    if path.startswith("~"):
        raise ValueError(f"{path}: DVC does not know ~, write the whole path, such as {os.path.expanduser(path)}")
    if re.search(r"\$\w|\$\{", path):
        raise ValueError(f"{path}: variables are not filled in, write the whole path")
    if set(Path(path).parts) <= {".", ".."}:
        raise ValueError(f"{path} holds what the stages write: give the folder of the pairs alone")
    return path


WholePath = Annotated[str, AfterValidator(_whole_path)]


Count = Annotated[int, Field(ge=1)]
Value = Annotated[int, Field(ge=0, le=255)]
Values = Value | tuple[Value, Value, Value]
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_ -]*$")]


def value_problems(classes: Mapping[str, Values], background: Sequence[Values], *, inverted: bool) -> Iterator[str]:
    """Yield what is wrong with what a row says of the values of masks: `classes`, `as_background`, `inverted_masks`."""
    values = [(value,) * 3 if isinstance(value, int) else value for value in classes.values()]
    others = {(value,) * 3 if isinstance(value, int) else value for value in background}
    if len(set(values)) < len(values) or (0, 0, 0) in values:
        yield f"classes: each needs a value of its own, and 0 is the background; got {dict(classes)}"
    if both := sorted(others & set(values)):
        yield f"as_background: {both} are values of classes too"
    if classes and inverted:
        yield "inverted_masks: classes say by their values what is lesion; leave it out"
