"""What files that are not read are, and how their owner gets to pairs from them."""

import re
from pathlib import Path

from data.pairs.image_io import IMAGE_SUFFIXES

SLICES = "name `images`, `masks` and `slices` in the row to read its slices"
TILES = "cut tiles out of it as PNG, image and mask alike (QuPath, OpenSlide)"
PNG = "save each image and each mask as PNG"
UNPACK = "unpack it here, then remove it"
NIFTI, DICOM = (".nii", ".nii.gz"), (".dcm", ".dicom", ".ima")
# endings -> what it is, the way in
BY_ENDING: dict[tuple[str, ...], tuple[str, str]] = {
    NIFTI: ("NIfTI volume", SLICES),
    DICOM: ("DICOM file", SLICES),
    (".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".mnc", ".img", ".hdr", ".gipl"): (
        "volume", f"convert it to NIfTI (SimpleITK does), then {SLICES}"
    ),
    (".svs", ".ndpi", ".scn", ".mrxs", ".vsi", ".czi", ".lif", ".bif", ".vms", ".qptiff"): ("whole-slide image", TILES),
    (".npy", ".pkl", ".pickle", ".pt", ".pth"): ("array file", f"{PNG}, or all in one .npz (layout medsegbench)"),
    (".npz",): ("array file", "it needs train_images and train_label, test_images and test_label (layout medsegbench)"),
    (".mat",): ("MATLAB file", f"{PNG} (imwrite, or scipy.io.loadmat)"),
    (".h5", ".hdf5", ".tfrecord", ".tfrecords", ".parquet", ".arrow", ".lmdb", ".zarr"): ("data base", PNG),
    (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".bz2", ".xz", ".7z", ".rar"): (
        "archive", UNPACK
    ),
    (".psd", ".xcf", ".svg", ".ai", ".eps", ".kra", ".clip"): ("drawing", PNG),
    (".heic", ".heif", ".raw", ".dng", ".cr2", ".nef", ".arw", ".exr"): ("camera picture", PNG),
    (".mp4", ".avi", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".webm"): ("video", "save its frames as PNG, with masks"),
    (".part", ".crdownload", ".download", ".tmp", ".partial"): ("unfinished copy", "fetch it again, or remove it"),
    (".bak", ".orig", ".old", ".swp", "~"): ("backup copy", "move it elsewhere"),
}  # fmt: skip
COCO = "COCO file"
COCO_WAY = "layout coco reads it where the images that it names lie beside it"
OUTLINES = "convert it to masks as PNG, or to COCO (layout coco)"
# What a text file is by its content, the endings it has then, the way in.
BY_CONTENT: tuple[tuple[str, tuple[str, ...], re.Pattern, str], ...] = (
    ("Label Studio file", (".json",),
     re.compile(r'(?s)(?=.*"(annotations|completions|result)")(?=.*"(brushlabels|polygonlabels|from_name)")'),
     "export it there as Brush labels to PNG, or as COCO (layout coco)"),
    ("Supervisely file", (".json",), re.compile(r'(?s)(?=.*"objects"\s*:)(?=.*"(classTitle|geometryType|size)")'),
     "make masks of it as PNG (supervisely.Annotation.draw), or one COCO file (layout coco)"),
    ("labelme file", (".json",), re.compile(r'(?s)(?=.*"shapes")(?=.*"(imagePath|imageHeight|points)")'),
     "make masks of it (labelme_export_json) or one COCO file (labelme2coco, layout coco)"),
    (COCO, (".json",), re.compile(r'(?s)(?=.*"(images|annotations)"\s*:\s*\[)(?=.*"(file_name|image_id|categories)")'),
     COCO_WAY),
    ("VIA or GeoJSON file", (".json", ".geojson"), re.compile(r'"_via_|"regions"|"FeatureCollection"'), OUTLINES),
    ("YOLO label file", (".txt",), re.compile(r"\A\s*(\d+( -?[\d.]+(e-?\d+)?){4,}\s*(\n|$))+"),
     "outlines: convert it to masks as PNG, or to COCO (layout coco); boxes alone are no masks"),
    ("table of run lengths", (".csv", ".tsv"), re.compile(r"^[^\n]*(EncodedPixels|rle|run.?length)", re.IGNORECASE),
     "decode it to one PNG mask an image (pycocotools, or the competition's code)"),
    ("file of boxes or outlines", (".xml",), re.compile(r"<(bndbox|polygon|Annotation|Coordinate|image)\b"), OUTLINES),
)  # fmt: skip
HEAD = 1 << 16  # of a text file


def ending_of(path: Path) -> str:
    """Return a file's ending in small letters, both parts of one such as .nii.gz; empty where it has none."""
    name = path.name.lower()
    double = next((end for ends in BY_ENDING for end in ends if end.count(".") > 1 and name.endswith(end)), "")
    return double or ("~" if name.endswith("~") else path.suffix.lower())


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _known(path: Path) -> tuple[str, str] | None:
    """Return what a file is and the way in, by its ending or what its text looks like; None where neither tells."""
    ending = ending_of(path)
    for endings, known in BY_ENDING.items():
        if ending in endings:
            return known
    if any(ending in endings for _, endings, _, _ in BY_CONTENT):
        text = _head(path).decode("utf-8", "replace")
        for what, endings, pattern, way in BY_CONTENT:
            if ending in endings and pattern.search(text):
                return what, way
    return None


def is_volume(path: Path) -> bool:
    """Return whether a file is a NIfTI volume or a DICOM file by its ending."""
    return ending_of(path) in (*NIFTI, *DICOM)


def form_of(path: Path) -> str | None:
    """Return what a file is that is neither a picture nor a plain text, or None."""
    known = _known(path)
    return known[0] if known else None


def picture_format(path: Path) -> str:
    """Return the format of the picture that a file holds whatever its name is, such as png; empty for no picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return (picture.format or "").lower()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""


def way_in(path: Path) -> str:
    """Return what a file that is not read is, by ending or content, and what to do, as the rest of a sentence."""
    ending, known = path.suffix, _known(path)
    if known:
        return f"{known[0]}; {known[1]}"
    if path.name.startswith(".") and path.name.lower().endswith(IMAGE_SUFFIXES):
        return "it is hidden, for its name begins with a dot: rename it, or remove it"
    if picture := picture_format(path):
        name = path.stem.rstrip(". ")
        name = name if name.lower().endswith(f".{picture}") else f"{name}.{picture}"
        what_to_do = f"rename it to {name}" if f".{picture}" in IMAGE_SUFFIXES else "save it as PNG"
        return f"it holds a picture ({picture}) but is not named as one that can be read: {what_to_do}"
    if b"DICM" in _head(path)[128:132]:
        return f"it is a DICOM file without its ending: rename it to {path.name}.dcm; {SLICES}"
    shown = f"its ending is {ending!r}" if ending.strip(". ") else "it has no ending"
    return f"{shown}; pictures are {', '.join(IMAGE_SUFFIXES)}"
