"""Recognising how a folder keeps its pairs. Each layout is a function from the folder to its pairs, or None."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data.layouts.cases import beside, cases, dsb
from data.layouts.chosen import chosen_pairs
from data.layouts.coco import coco
from data.layouts.folders import by_split, child, children, folder_pairs, folders_within, split_name
from data.layouts.leftovers import images_alone, other_forms, survey, with_leftovers
from data.layouts.lists import imagefolder, jsonl, medsegbench, voc
from data.layouts.matching import match
from data.layouts.nnunet_labels import read_nnunet_labels
from data.pairs.errors import UserError
from data.readers.config import Which
from data.readers.known_forms import form_of, is_volume, way_in
from data.readers.sources import Found, Source, pictures

ISIC = re.compile(r"(ISBI2016_ISIC_Part1|ISIC2018_Task1(?:-2)?|ISIC-2017)_(Training|Validation|Test)\w*", re.IGNORECASE)


def _folders(folder: Path, found: Found) -> None:
    found.sources = folder_pairs(folder, found.unmatched)


def _pranet(folder: Path, found: Found) -> None:
    train, test = child(folder, ("traindataset",)), child(folder, ("testdataset",))
    for source in folder_pairs(train, found.unmatched) if train else ():
        domain = "clinicdb" if source.id.isdigit() else "kvasir"
        found.sources.append(replace(source, split="train", domain=domain))
    test_sets = children(test) if test else []
    for place in test_sets:
        if place.name.lower() == "test" and len(test_sets) > 1:
            found.notes.append(f"{place}: holds the other test sets once more, left out")
            found.left_out.append(place)
            continue
        name = split_name(place.name)
        found.sources += [replace(s, split=name, domain=name) for s in folder_pairs(place, found.unmatched)]


def _isic(folder: Path, found: Found) -> None:
    files_of: dict[str, tuple[list[Path], list[Path]]] = {}
    for place in children(folder):
        if named := ISIC.match(place.name):
            images, masks = files_of.setdefault(split_name(named[2]), ([], []))
            ours = masks if place.name.lower().endswith("groundtruth") else images
            for path in pictures(place):
                (found.left_out if path.stem.lower().endswith("_superpixels") else ours).append(path)
    for split, (images, masks) in files_of.items():
        found.sources += match(images, masks, found.unmatched, split=split)


def _ph2(folder: Path, found: Found) -> None:
    for place in folders_within(folder):
        images, masks = place / f"{place.name}_Dermoscopic_Image", place / f"{place.name}_lesion"
        if images.is_dir() and masks.is_dir():
            found.sources += match(pictures(images), pictures(masks), found.unmatched)


def _mvtec(folder: Path, found: Found) -> None:
    for category in (folder, *children(folder)):
        tests, truths = category / "test", category / "ground_truth"
        if not tests.is_dir() or not truths.is_dir():
            continue
        for defect in (place for place in children(tests) if place.name != "good"):
            domain = f"{category.name}-{defect.name}"
            pairs = match(pictures(defect), pictures(truths / defect.name), found.unmatched, domain=domain)
            found.sources += [replace(s, id=f"{domain}-{s.id}", group=f"{domain}-{s.id}") for s in pairs]


def _nnunet(folder: Path, found: Found) -> None:
    if not (folder / "imagesTr").is_dir() or not (folder / "labelsTr").is_dir():
        return
    said = read_nnunet_labels(folder / "dataset.json")
    found.mask_threshold, found.ignored, found.notes = 0, said.ignored, list(said.notes)
    found.classes = said.classes if len(said.classes) > 1 or said.ignored else {}
    for split, side in (("train", "Tr"), ("test", "Ts")):
        places = folder / f"images{side}", folder / f"labels{side}"
        if not all(place.is_dir() for place in places):
            continue
        labels = {path.stem: path for path in pictures(places[1])}
        volumes = [path for place in places for path in sorted(place.iterdir()) if is_volume(path)]
        found.unmatched += [f"{path}: is not read: {way_in(path)}" for path in volumes]
        images: dict[str, list[Path]] = {}
        for path in pictures(places[0]):
            images.setdefault(path.stem.rpartition("_")[0], []).append(path)
        for case in sorted(set(labels) | set(images)):
            files = images.get(case, [])
            if not files or case not in labels:
                found.unmatched += [f"{path}: has no mask" for path in files] or [f"{labels[case]}: has no image"]
            elif [path.stem[-5:] for path in files] in (["_0000"], ["_0000", "_0001", "_0002"]):
                source = Source(case, files[0], (labels[case],), split, channels=tuple(files[1:]))
                found.sources.append(replace(source, known=said.known, ignored=said.ignored))
            else:
                text = f"has {len(files)} channel files; 1 can be read, or 3 (_0000 to _0002)"
                found.unmatched += [f"{path}: {text}" for path in files]
                found.unmatched.append(f"{labels[case]}: the image of this mask {text}")
    found.unmatched += said.problems


LAYOUTS: dict[str, Callable[[Path, Found], None]] = {
    "pranet": _pranet,
    "isic": _isic,
    "ph2": _ph2,
    "mvtec": _mvtec,
    "nnunet": _nnunet,
    "imagefolder": imagefolder,
    "jsonl": jsonl,
    "medsegbench": medsegbench,
    "voc": voc,
    "dsb": dsb,
    "folders": _folders,
    "coco": coco,
    "cases": cases,
    "beside": beside,
}
BY_NAMES = ("folders", "cases", "beside")  # these have something to say of every folder, so the others are told first


def find(folder: Path, layout: str | None = None, which: Which | None = None) -> Found:
    """Return the pairs of a folder in the first layout of LAYOUTS that fits, in the one named, or as `which` says.

    Every other file among them is named in `unmatched`, or in `unused` where it can do no harm.

    Raises: UserError when the folder is missing or holds nothing that looks like pairs, or the layout is unknown.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"no such layout: {layout}", [f"known are {', '.join(LAYOUTS)}"])
    if not folder.is_dir() and (folder.suffix != ".npz" or not folder.exists()):
        raise UserError(_no_folder(folder))
    if which and any(which):
        return with_leftovers(folder, chosen_pairs(folder, which))
    nearest: list[Found] = []
    for name in [layout] if layout else LAYOUTS if folder.is_dir() else ["medsegbench"]:
        found = Found(name)
        LAYOUTS[name](folder, found)
        if found.sources:
            found.sources = by_split(found.sources)
            others = [other for other in nearest if other.layout not in BY_NAMES]
            found.notes += [f"not read as layout {other.layout}: {other.unmatched[0]}" for other in others]
            return with_leftovers(folder, found)
        if found.unmatched:
            nearest.append(found)
    nearest.sort(key=lambda found: found.layout in BY_NAMES)
    held = sorted(child.name for child in folder.iterdir())[:8] if folder.is_dir() else [folder.name]
    raise UserError(
        f"{folder} holds no pairs{f' in the layout {layout}' if layout else ''}; it contains {held}",
        [
            *(nearest[0].unmatched if nearest else ()),
            *([*survey(folder), *other_forms(folder)] if folder.is_dir() else ()),
            "expected is a folder of images and one of masks (images and masks, img_dir and ann_dir, train_images and "
            "train_masks, ...),",
            "or images and masks side by side, the masks with a suffix such as _mask, _segmentation, _lesion,",
            f"or one of the layouts {', '.join(LAYOUTS)};",
            'else say which is which: doctor --images "DIR/{id}.jpg" --masks "DIR/{id}_mask.png", or --pairs pairs.csv '
            "with columns image,mask; they are keys of the data-set row too",
            *images_alone(folder),
        ],
    )


def _no_folder(path: Path) -> str:
    if path.is_file():
        what = form_of(path)
        if what == "archive":
            return f"{path} is an archive: unpack it, then give the folder"
        return f"{path} is a file{f' ({what})' if what else ''}, not a folder: give the folder that holds the pairs"
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which is not there: mend the link or give another folder"
    return f"{path} is not a folder: set `path` and `splits` of the data-set row to where the pairs are"
