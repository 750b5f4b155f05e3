"""nnU-Net v2 raw: DatasetXXX_Name/ with imagesTr, labelsTr, imagesTs, labelsTs, dataset.json, splits_final.json."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from data.exports.bundle import TRAIN, VAL, Bundle, Item, copy_pair, safe_names, write_readme
from data.exports.formats import Options
from data.pairs.errors import UserError
from data.pairs.files import write_json, write_text
from data.pairs.seeds import item_seed
from data.prepare.grouping import deal

MSD_IDS = range(1, 11)  # of the Medical Segmentation Decathlon
HOW = """\
`{folder}` belongs into the folder nnUNet_raw. Labels are {labels}.

    nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity

Copy splits_final.json to nnUNet_preprocessed/{folder}/ after that and before the first training: validation is
on real pairs only, and what was made from a validation pair is left out of that fold; pairs without a parent are in
every fold. Without the file nnU-Net deals synthetic pairs into validation, too. The generator may have seen the
validation images all the same: train it on one fold alone where that matters. The fold `all` trains on every pair here,
those for validation too.
"""
Fold = tuple[list[Item], list[Item]]  # train, val


def _group(item: Item) -> str:
    """Return what must stay together with a real pair; a group is never taken for an id."""
    return f"group {item.pair.group}" if item.pair.group else f"pair {item.id}"


def _fold(items: Sequence[Item], val: Iterable[Item]) -> Fold:
    """Return the fold with these val pairs: train is the other real pairs, and what was made from none of val's.

    An added pair without a parent is in every fold.
    """
    real = {item.id: item for item in items if item.real}
    held = {item.id for item in val}
    held_groups = {_group(real[name]) for name in held}
    train = [item for item in real.values() if item.id not in held]
    for item in items:
        origins = {_group(real[name]) for name in (item.parent, item.donor) if name}
        if not item.real and not held_groups & origins:
            train.append(item)
    return train, [real[name] for name in sorted(held)]


def folds(bundle: Bundle, count: int, seed: int) -> list[Fold]:
    """Return the folds: the bundle's own val split as the only one, or `count` over the real training pairs by group.

    The largest groups are dealt first, each to the smallest fold; among equals the seed decides.

    Raises: UserError when there are fewer than two folds, or fewer groups than folds.
    """
    items = [*bundle.splits[TRAIN], *bundle.splits.get(VAL, ())]
    if VAL in bundle.splits:
        return [_fold(items, bundle.splits[VAL])]
    groups: dict[str, list[Item]] = {}
    for item in items:
        if item.real:
            groups.setdefault(_group(item), []).append(item)
    if not 2 <= count <= len(groups):
        raise UserError(f"folds: {count} must be 2 to {len(groups)}, as many as real training pairs or groups of them")
    order = sorted(groups, key=lambda name: item_seed("folds", seed, name))
    return [_fold(items, val) for val in deal((groups[name] for name in order), count)]


def _checked_names(bundle: Bundle, options: Options) -> tuple[str, dict[str, int]]:
    """Return the name of the folder, such as Dataset501_KvasirSeg, and the number of each label. Raises: UserError."""
    parts = re.findall(r"[A-Za-z0-9]+", options.name)
    problems = []
    if not 1 <= options.dataset_id <= 999 or options.dataset_id in MSD_IDS:
        problems.append(f"id {options.dataset_id}: must be 11 to 999, 1 to 10 are those of the Medical Decathlon")
    if not parts:
        problems.append(f"name '{options.name}': holds no letter from A to Z and no digit")
    if problems:
        raise UserError("nnU-Net cannot take this data set", problems)
    if taken := sorted({"background", "ignore"} & set(bundle.classes)):
        raise UserError(f"nnU-Net gives {taken} a meaning of its own: rename the class")
    folder = f"Dataset{options.dataset_id:03d}_" + "".join(part[0].upper() + part[1:] for part in parts)
    return folder, {name: number for number, name in enumerate(("background", *bundle.classes))}


def _cases(bundle: Bundle) -> dict[str, str]:
    """Return export id -> case. The cases of test sets begin with the set's name where there are several."""
    tests = bundle.splits.keys() - {TRAIN, VAL}
    names: dict[str, str] = {}
    for split, items in bundle.splits.items():
        prefix = f"{split}-" if len(tests) > 1 and split in tests else ""
        names |= {item.id: item.id if item.id.startswith(prefix) else prefix + item.id for item in items}
    return dict(zip(names, safe_names([*names.values()]), strict=True))


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write the data set with its folds. Real and synthetic training pairs and val are in imagesTr, test sets in Ts.

    Raises: UserError for a number, a name, a class or a count of folds that does not do.
    """
    name, labels = _checked_names(bundle, options)
    dealt, cases = folds(bundle, options.folds, options.seed), _cases(bundle)
    place = folder / name
    for split, items in bundle.splits.items():
        side = "Tr" if split in (TRAIN, VAL) else "Ts"
        (place / f"labels{side}").mkdir(parents=True, exist_ok=True)
        for item in items:
            case = cases[item.id]
            copy_pair(item, place / f"images{side}", f"{case}_0000.png")
            Image.fromarray(item.pair_set.labels(item.pair)).save(place / f"labels{side}" / f"{case}.png")
    document = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": labels,
        "numTraining": len(bundle.splits[TRAIN]) + len(bundle.splits.get(VAL, ())),
        "file_ending": ".png",
        "name": options.name,
        "description": "real and synthetic image-mask pairs; synthetic ones in imagesTr only",
        "licence": "the terms of the real data set apply, to the synthetic pairs too; not for clinical use",
    }
    write_json(place / "dataset.json", document)
    splits = [
        {"train": [cases[item.id] for item in train], "val": [cases[item.id] for item in val]} for train, val in dealt
    ]
    write_json(place / "splits_final.json", splits)
    named = ", ".join(f"{number} {label}" for label, number in labels.items())
    how = HOW.format(folder=name, labels=named, number=options.dataset_id)
    write_text(place / "README.txt", how)
    write_readme(folder / "README.md", bundle, f"{options.name}: nnU-Net v2", how)
