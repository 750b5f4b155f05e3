"""A trained generator found by its folder alone: its base model, the size and classes of its masks, how it is sampled.

Where `dvc repro` has put it, all that lies beside it: PROJECT/outputs/generators/<data set>/<name>-g<training seed>.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from data.pairs.manifest import MANIFEST, PairSet, class_names, read_pairs
from data.pairs.prepared import POOL, TRAIN
from siamese.base.load import base_info
from siamese.config.sections import NEEDS, Needs, SamplingConfig
from siamese.how_sampled import refuse_changes, sampling_of
from siamese.method.checkpoint import read_config

WHY_NOT = {
    "reference": "it needs the real image that each mask was drawn on, and a mask of yours has none",
    "emits_masks": "it makes a mask of its own with every image, and yours would not be looked at",
}


class Found(NamedTuple):
    """A trained generator and what it needs."""

    folder: Path
    base_dir: Path  # its own folder for a method without a base model, which is not read then
    size_px: int
    classes: tuple[str, ...]
    training_seed: int  # which is added to the seed of the noise, so that two trainings differ in their noise too
    sampling: SamplingConfig
    sampling_from: str  # where that stands
    pool: PairSet | None  # images without a lesion, for a method that needs them
    train: Path | None  # its training pairs, where they lie in its project

    @property
    def name(self) -> str:
        """The name of its folder, such as siamese-g0."""
        return self.folder.name


def _project(folder: Path) -> Path | None:
    """Return the project that a generator lies in as stages put it there, or None."""
    parents = folder.parents
    inside = len(parents) > 3 and (parents[1].name, parents[2].name) == ("generators", "outputs")
    return parents[3] if inside else None


def refuse_for_given_masks(method: str, needs: Needs) -> None:
    """Raise UserError for a method that can make no image for a mask that somebody draws."""
    for need, why in WHY_NOT.items():
        if getattr(needs, need):
            able = [name for name, of in NEEDS.items() if not any(getattr(of, what) for what in WHY_NOT)]
            raise UserError(
                f"a generator of the method {method} makes no images for given masks: {why}",
                [f"methods that do: {', '.join(able)}", "its own pairs are made by the stage sample, for masks: real"],
            )


def _config(folder: Path) -> dict[str, Any]:
    """Return what a generator's config.json says. Raises: UserError when the folder holds no trained generator."""
    if not (folder / "config.json").is_file():
        others = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = f"; below it lie {', '.join(others)}: name one of these" if others else ": dvc repro trains one"
        raise UserError(f"{folder} holds no trained generator{hint}")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        config = read_config(folder)
        size, classes = config.get("size_px", 1), config.get("classes", ["lesion"])
        plain = isinstance(size, int) and size > 0 and isinstance(config.get("training", {}), dict)
        named = isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)
        if plain and named and (not NEEDS[config["generator"]["method"]].latents or isinstance(config["base"], str)):
            return config
    raise UserError(f"{folder / 'config.json'} is not that of a generator of this project")


def _bases(folder: Path, project: Path | None) -> list[Path]:
    """Return the folders that may hold the base model: in the project, of its data set first, and beside it."""
    bases = project / "outputs/base" if project else None
    of_project = [bases / folder.parent.name, *sorted(bases.iterdir() if bases.is_dir() else ())] if bases else []
    return list(dict.fromkeys([*of_project, folder / "base", folder.parent / "base"]))


def _base_problem(wanted: str, tried: Sequence[Path]) -> str:
    shown = [
        f"{path} (holds {base_info(path)['sha256'][:12]})" if (path / "base.json").is_file() else str(path)
        for path in tried
    ]
    where = ", ".join(shown)
    return f"its base model {wanted[:12]}: looked for it in {where}: give the folder that holds its base.json (base)"


def _find_base(folder: Path, project: Path | None, wanted: str, given: Path | None, lacking: list[str]) -> Path:
    """Return the folder of the base model with this hash, or say that it lacks."""
    tried = [given] if given else _bases(folder, project)
    for path in tried:
        if (path / "base.json").is_file() and base_info(path)["sha256"] == wanted:
            return path
    lacking.append(_base_problem(wanted, tried))
    return folder


def _train(project: Path | None, dataset: str) -> Path | None:
    return project / "data/processed" / dataset / TRAIN if project else None


def _facts(
    config: Mapping[str, Any], project: Path | None, dataset: str, lacking: list[str]
) -> tuple[int, tuple[str, ...]]:
    """Return side and classes of the training pairs, or say that they lack."""
    if "size_px" in config and "classes" in config:
        return config["size_px"], tuple(config["classes"])
    train = _train(project, dataset)
    if train and (train / MANIFEST).is_file() and (pairs := read_pairs(train)):
        return pairs.image(pairs.pairs[0]).shape[0], class_names(pairs.pairs[0])
    lacking.append(
        "the size of its images and the classes of its masks, which config.json of an older version does not say: "
        f"train it anew, or bring back its training pairs, {train or 'data/processed of its project'}"
    )
    return 0, ()


def _training_seed(config: Mapping[str, Any], folder: Path) -> int:
    """Return the seed of the training, which an imported checkpoint has in its name alone."""
    named = re.search(r"-g(\d+)$", folder.name)
    return int(config.get("training", {}).get("seed", named[1] if named else 0))


def find_generator(
    folder: str | Path, base: str | Path | None = None, normal: str | Path | None = None, **changes: Any
) -> Found:
    """Return the generator of a folder with all that it needs; `base` and `normal` are folders that lie elsewhere.

    `changes` are keys of `sampling` in params.yaml, such as steps and guidance.

    Raises: UserError that says all that lacks and where it was looked for, for a method that takes no masks, and for
    changes that sampling cannot have.
    """
    folder = Path(folder).expanduser().resolve()
    config, project = _config(folder), _project(folder)
    method = config["generator"]["method"]
    needs = NEEDS[method]
    refuse_for_given_masks(method, needs)
    refuse_changes(config["generator"], changes)
    sampling, source = sampling_of(project, changes)
    given, dataset = Path(base).expanduser().resolve() if base else None, folder.parent.name
    lacking: list[str] = []
    base_dir = _find_base(folder, project, config["base"], given, lacking) if needs.latents else folder
    size_px, classes = _facts(config, project, dataset, lacking)
    pool = _find_pool(project, dataset, normal, lacking) if needs.normal else None
    if lacking:
        raise UserError(f"{folder} is not all that this generator needs; it lacks", lacking)
    seed, train = _training_seed(config, folder), _train(project, dataset)
    return Found(folder, base_dir, size_px, classes, seed, sampling, source, pool, train)


def _find_pool(project: Path | None, dataset: str, given: str | Path | None, lacking: list[str]) -> PairSet | None:
    """Return the images without a lesion, or say that they lack."""
    place = Path(given).expanduser().resolve() if given else None
    if not place and project:
        place = project / "data/processed" / dataset / POOL
    if place and (place / MANIFEST).is_file() and (pool := read_pairs(place)):
        return pool
    where = place or "data/processed of its project"
    lacking.append(
        f"images without a lesion, which it paints into: looked in {where}: give a pair set of them (normal)"
    )
    return None
