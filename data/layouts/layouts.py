"""Recognising how a folder keeps its pairs. Each layout is a function from the folder to its pairs, or None."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data.layouts.cases import beside, cases, dsb
from data.layouts.chosen import Which, chosen_pairs
from data.layouts.coco import coco
from data.layouts.folders import (
    child,
    children,
    folder_pairs,
    folders_within,
    found_pairs,
    split_name,
)
from data.layouts.known_forms import form_of, is_volume, way_in
from data.layouts.leftovers import other_forms, survey, with_leftovers
from data.layouts.lists import imagefolder, jsonl, medsegbench, voc
from data.layouts.nnunet_labels import read_nnunet_labels
from data.layouts.sources import Found, Source, match, pictures
from data.pairs.errors import UserError

ISIC = re.compile(r"(ISBI2016_ISIC_Part1|ISIC2018_Task1(?:-2)?|ISIC-2017)_(Training|Validation|Test)\w*", re.IGNORECASE)


def _folders(folder: Path) -> Found | None:
    unmatched: list[str] = []
    return found_pairs("folders", folder_pairs(folder, unmatched), unmatched)


def _pranet(folder: Path) -> Found | None:
    train, test = child(folder, ("traindataset",)), child(folder, ("testdataset",))
    if not train and not test:
        return None
    unmatched: list[str] = []
    notes: list[str] = []
    left_out: list[Path] = []
    sources = folder_pairs(train, unmatched) if train else []
    sources = [replace(s, split="train", domain="clinicdb" if s.id.isdigit() else "kvasir") for s in sources]
    for place in children(test) if test else ():
        if place.name.lower() == "test" and len(children(test)) > 1:  # type: ignore[arg-type]
            notes.append(f"{place}: holds the other test sets once more, left out")
            left_out.append(place)
            continue
        name = split_name(place.name)
        sources += [replace(s, split=name, domain=name) for s in folder_pairs(place, unmatched)]
    return found_pairs("pranet", sources, unmatched, notes=tuple(notes), left_out=tuple(left_out))


def _isic(folder: Path) -> Found | None:
    parts: dict[str, dict[str, list[Path]]] = {}
    left_out: list[Path] = []
    for place in children(folder):
        if named := ISIC.match(place.name):
            kind = "masks" if place.name.lower().endswith("groundtruth") else "images"
            found = [path for path in pictures(place) if not path.stem.lower().endswith("_superpixels")]
            left_out += set(pictures(place)) - set(found)
            parts.setdefault(split_name(named.group(2)), {}).setdefault(kind, []).extend(found)
    unmatched: list[str] = []
    sources = []
    for split, files in parts.items():
        sources += match(files.get("images", []), files.get("masks", []), unmatched, split=split)
    return found_pairs("isic", sources, unmatched, left_out=tuple(left_out))


def _ph2(folder: Path) -> Found | None:
    unmatched: list[str] = []
    sources = []
    for place in folders_within(folder):
        images, masks = place / f"{place.name}_Dermoscopic_Image", place / f"{place.name}_lesion"
        if images.is_dir() and masks.is_dir():
            sources += match(pictures(images), pictures(masks), unmatched)
    return found_pairs("ph2", sources, unmatched)


def _mvtec(folder: Path) -> Found | None:
    unmatched: list[str] = []
    sources = []
    for category in (folder, *children(folder)):
        tests, truths = category / "test", category / "ground_truth"
        if not tests.is_dir() or not truths.is_dir():
            continue
        for defect in children(tests):
            if defect.name == "good":
                continue
            masks = pictures(truths / defect.name) if (truths / defect.name).is_dir() else []
            domain = f"{category.name}-{defect.name}"
            pairs = match(pictures(defect), masks, unmatched, domain=domain)
            sources += [replace(s, id=f"{domain}-{s.id}", group=f"{domain}-{s.id}") for s in pairs]
    return found_pairs("mvtec", sources, unmatched)


def _nnunet(folder: Path) -> Found | None:
    if not (folder / "imagesTr").is_dir() or not (folder / "labelsTr").is_dir():
        return None
    unmatched: list[str] = []
    sources = []
    for split, side in (("train", "Tr"), ("test", "Ts")):
        if not (folder / f"images{side}").is_dir() or not (folder / f"labels{side}").is_dir():
            continue
        labels = {path.stem: path for path in pictures(folder / f"labels{side}")}
        volumes = [path for kind in ("images", "labels") for path in sorted((folder / f"{kind}{side}").iterdir())]
        unmatched += [f"{path}: is not read: {way_in(path)}" for path in volumes if is_volume(path)]
        images: dict[str, list[Path]] = {}
        for path in pictures(folder / f"images{side}"):
            images.setdefault(path.stem.rpartition("_")[0], []).append(path)
        for case in sorted(set(labels) | set(images)):
            files = images.get(case, [])
            if not files or case not in labels:
                unmatched += [f"{path}: has no mask" for path in files] or [f"{labels[case]}: has no image"]
            elif [path.stem[-5:] for path in files] in (["_0000"], ["_0000", "_0001", "_0002"]):
                sources.append(Source(case, files[0], (labels[case],), split, channels=tuple(files[1:])))
            else:
                text = f"has {len(files)} channel files; 1 can be read, or 3 (_0000 to _0002)"
                unmatched += [f"{path}: {text}" for path in files]
                unmatched.append(f"{labels[case]}: the image of this mask {text}")
    said = read_nnunet_labels(folder / "dataset.json")
    sources = [replace(source, known=said.known, ignored=said.ignored) for source in sources]
    classes = said.classes if len(said.classes) > 1 or said.ignored else {}
    more = {"classes": classes, "ignored": said.ignored, "notes": said.notes}
    return found_pairs("nnunet", sources, [*unmatched, *said.problems], mask_threshold=0, **more)


LAYOUTS: dict[str, Callable[[Path], Found | None]] = {
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
        found = LAYOUTS[name](folder)
        if found and found.sources:
            others = [other for other in nearest if other.layout not in BY_NAMES]
            failed = [f"not read as layout {other.layout}: {other.unmatched[0]}" for other in others]
            return with_leftovers(folder, replace(found, notes=(*found.notes, *failed)))
        if found and found.unmatched:
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
