"""nnU-Net v2 raw: DatasetXXX_Name/ with imagesTr, labelsTr, imagesTs, labelsTs, dataset.json, splits_final.json."""

import re
from pathlib import Path

from PIL import Image

from data.exports.bundle import TRAIN, VAL, Bundle, copy_pair, safe_names
from data.exports.folds import folds
from data.exports.formats import Options
from data.exports.readme import write_readme
from data.pairs.errors import UserError
from data.pairs.files import write_json, write_text

MSD_IDS = range(1, 11)  # of the Medical Segmentation Decathlon
HOW = """\
`{folder}` belongs into the folder nnUNet_raw. Labels are {labels}.

    nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity

Copy splits_final.json to nnUNet_preprocessed/{folder}/ after that and before the first training: validation is
on real pairs only, and what was made from a validation pair is left out of that fold. Without the file nnU-Net deals
synthetic pairs into validation, too. The generator may have seen the validation images all the same: train it on one
fold alone where that matters. The fold `all` trains on every pair here, those for validation too.
"""


def dataset_folder(options: Options) -> str:
    """Return the name of the folder, such as Dataset501_KvasirSeg.

    Raises: UserError when the number is reserved or out of bounds, or the name holds no letter or digit.
    """
    parts = re.findall(r"[A-Za-z0-9]+", options.name)
    problems = []
    if not 1 <= options.dataset_id <= 999 or options.dataset_id in MSD_IDS:
        problems.append(f"id {options.dataset_id}: must be 11 to 999, 1 to 10 are those of the Medical Decathlon")
    if not parts:
        problems.append(f"name '{options.name}': holds no letter from A to Z and no digit")
    if problems:
        raise UserError("nnU-Net cannot take this data set", problems)
    return f"Dataset{options.dataset_id:03d}_" + "".join(part[0].upper() + part[1:] for part in parts)


def _labels(bundle: Bundle) -> dict[str, int]:
    taken = sorted({"background", "ignore"} & set(bundle.classes))
    if taken:
        raise UserError(f"nnU-Net gives {taken} a meaning of its own: rename the class")
    return {"background": 0, **{name: number for number, name in enumerate(bundle.classes, 1)}}


def _cases(bundle: Bundle) -> dict[str, str]:
    """Return export id -> case. The cases of test sets begin with the set's name where there are several."""
    several = len(bundle.tests()) > 1
    items = [item for rows in bundle.splits.values() for item in rows]
    names = []
    for item in items:
        prefix = f"{item.split}-" if several and item.split not in (TRAIN, VAL) else ""
        names.append(item.id if item.id.startswith(prefix) else prefix + item.id)
    return dict(zip([item.id for item in items], safe_names(names), strict=True))


def _write_cases(bundle: Bundle, folder: Path, cases: dict[str, str]) -> None:
    for split, items in bundle.splits.items():
        side = "Tr" if split in (TRAIN, VAL) else "Ts"
        (folder / f"labels{side}").mkdir(parents=True, exist_ok=True)
        for item in items:
            case = cases[item.id]
            copy_pair(item, folder / f"images{side}", f"{case}_0000.png")
            Image.fromarray(item.pair_set.labels(item.pair)).save(folder / f"labels{side}" / f"{case}.png")


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write the data set with its folds. Real and synthetic training pairs and val are in imagesTr, test sets in Ts.

    Raises: UserError for a number, a name, a class or a count of folds that does not do.
    """
    place, labels = dataset_folder(options), _labels(bundle)
    dealt, cases = folds(bundle, options.folds, options.seed), _cases(bundle)
    _write_cases(bundle, folder / place, cases)
    document = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": labels,
        "numTraining": len(bundle.splits[TRAIN]) + len(bundle.splits.get(VAL, ())),
        "file_ending": ".png",
        "name": options.name,
        "description": "real and synthetic image-mask pairs; synthetic ones in imagesTr only",
        "licence": "the terms of the real data set apply, to the synthetic pairs too; not for clinical use",
    }
    write_json(folder / place / "dataset.json", document)
    splits = [
        {"train": [cases[item.id] for item in train], "val": [cases[item.id] for item in val]} for train, val in dealt
    ]
    write_json(folder / place / "splits_final.json", splits)
    named = ", ".join(f"{number} {name}" for name, number in labels.items())
    how = HOW.format(folder=place, labels=named, number=options.dataset_id)
    write_text(folder / place / "README.txt", how)
    write_readme(folder / "README.md", bundle, f"{options.name}: nnU-Net v2", how)
