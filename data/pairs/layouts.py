"""Recognising how a folder keeps its pairs. Each layout is a function from the folder to its pairs, or None."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.layout_lists import imagefolder, jsonl, medsegbench
from data.pairs.layout_parts import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    child,
    children,
    folder_pairs,
    folders_within,
    found_pairs,
    split_name,
)
from data.pairs.nnunet_labels import read_nnunet_labels
from data.pairs.sources import MASK_SUFFIX, Found, Source, match, pictures

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
    sources = folder_pairs(train, unmatched) if train else []
    sources = [replace(s, split="train", domain="clinicdb" if s.id.isdigit() else "kvasir") for s in sources]
    for place in children(test) if test else ():
        if place.name.lower() == "test" and len(children(test)) > 1:  # type: ignore[arg-type]
            notes.append(f"{place}: holds the other test sets once more, left out")
            continue
        name = split_name(place.name)
        sources += [replace(s, split=name, domain=name) for s in folder_pairs(place, unmatched)]
    return found_pairs("pranet", sources, unmatched, notes=tuple(notes))


def _isic(folder: Path) -> Found | None:
    parts: dict[str, dict[str, list[Path]]] = {}
    for place in children(folder):
        if named := ISIC.match(place.name):
            kind = "masks" if place.name.lower().endswith("groundtruth") else "images"
            found = [path for path in pictures(place) if not path.stem.lower().endswith("_superpixels")]
            parts.setdefault(split_name(named.group(2)), {}).setdefault(kind, []).extend(found)
    unmatched: list[str] = []
    sources = []
    for split, files in parts.items():
        sources += match(files.get("images", []), files.get("masks", []), unmatched, split=split)
    return found_pairs("isic", sources, unmatched)


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
                unmatched.append(f"{files[0]}: has {len(files)} channel files; 1 can be read, or 3 (_0000 to _0002)")
    said = read_nnunet_labels(folder / "dataset.json")
    sources = [replace(source, known=said.known, ignored=said.ignored) for source in sources]
    classes = said.classes if len(said.classes) > 1 or said.ignored else {}
    more = {"classes": classes, "ignored": said.ignored, "notes": said.notes}
    return found_pairs("nnunet", sources, [*unmatched, *said.problems], mask_threshold=0, **more)


def _dsb(folder: Path) -> Found | None:
    """One folder an image, with a folder of many masks that belong to it."""
    places = [place for place in children(folder) if (place / "images").is_dir()]
    cases = [place for place in places if (place / "masks").is_dir()]
    one_each = all(len(pictures(place / "images")) == 1 for place in cases)
    named = all((pictures(place / "images")[0].stem == place.name) for place in cases) if one_each else False
    if not cases or not named:
        return None
    with_masks = [place for place in cases if pictures(place / "masks")]
    without = [path for place in places if place not in with_masks for path in pictures(place / "images")]
    unmatched = [f"{path}: has no mask" for path in without]
    sources = [Source(p.name, pictures(p / "images")[0], tuple(pictures(p / "masks"))) for p in with_masks]
    return found_pairs("dsb", sources, unmatched)


def _beside(folder: Path) -> Found | None:
    unmatched: list[str] = []
    sources = []
    without: list[Path] = []
    for place in folders_within(folder, 2):
        files = pictures(place)
        masks = [path for path in files if MASK_SUFFIX.search(path.stem)]
        if not masks:
            without += files
        else:
            name = "" if place == folder else split_name(place.name)
            is_side = name in ("train", "val", "test")
            images = [path for path in files if path not in set(masks)]
            where = {"split": name} if is_side else {"domain": name}
            sources += match(images, masks, unmatched, **where)
    unmatched += [f"{path}: has no mask" for path in without]
    return found_pairs("beside", sources, unmatched)


LAYOUTS: dict[str, Callable[[Path], Found | None]] = {
    "pranet": _pranet,
    "isic": _isic,
    "ph2": _ph2,
    "mvtec": _mvtec,
    "nnunet": _nnunet,
    "imagefolder": imagefolder,
    "jsonl": jsonl,
    "medsegbench": medsegbench,
    "dsb": _dsb,
    "folders": _folders,
    "beside": _beside,
}


def find(folder: Path, layout: str | None = None) -> Found:
    """Return the pairs of a folder in the first layout of LAYOUTS that fits, or in the one that is named.

    Raises: UserError when the folder is missing or holds nothing that looks like pairs, or the layout is unknown.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"no such layout: {layout}", [f"known are {', '.join(LAYOUTS)}"])
    if not folder.is_dir() and folder.suffix != ".npz":
        raise UserError(f"{folder} is not a folder: set `path` and `splits` of the data-set row to where the pairs are")
    for name in [layout] if layout else LAYOUTS:
        if found := LAYOUTS[name](folder):
            return found
    unmatched: list[str] = []
    if folder.is_dir() and not layout:
        folder_pairs(folder, unmatched)  # nothing fits, but what came nearest can be told
    held = sorted(child.name for child in folder.iterdir())[:8] if folder.is_dir() else [folder.name]
    raise UserError(
        f"{folder} holds no pairs{f' in the layout {layout}' if layout else ''}; it contains {held}",
        [
            f"expected a folder named {' / '.join(IMAGE_FOLDERS)} and one named {' / '.join(MASK_FOLDERS)},",
            "or images and masks side by side, the masks with a suffix such as _mask, _segmentation, _lesion,",
            f"or one of the layouts {', '.join(LAYOUTS)}",
            *unmatched[:8],
        ],
    )
