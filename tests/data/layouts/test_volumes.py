"""Slices of NIfTI volumes and DICOM files: turned to the patient, windowed, one volume never in two splits."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.layouts.layouts import find
from data.mask_files.read import Reading
from data.pairs.errors import UserError
from data.pairs.image_io import BadImageError
from data.pairs.prepared import read_lone_images
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from data.readers.config import Slices, Which
from data.readers.dicom import DicomFile
from data.readers.reading import read_source
from data.readers.sources import Source
from data.readers.volumes import _volume, sources_of_volumes, windowed

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
SHAPE = (40, 36, 10)  # right-left, back-front, feet-head
PATTERNS = ("images/{id}.nii.gz", "labels/{id}.nii.gz")


def slices(**changes) -> Slices:
    base = {"window": [-160, 240], "axis": 2, "keep": "all"}
    return Slices.model_validate_json(json.dumps({**base, **changes}))


def which(cut: Slices) -> Which:
    return Which(*PATTERNS, slices=cut)


def volume(seed: int, label: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 values along RAS axes, and labels: a lesion at the right, in front, in slices 3 to 5."""
    values = np.random.default_rng(seed).integers(-200, 300, SHAPE).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[28:36, 24:34, 3:6] = label
    return values, labels


def write(root, name: str, seed: int = 0, codes: str = "RAS", label: int = 1) -> None:
    """Write a volume and its labels with the axes in the order and directions of `codes`."""
    whole = volume(seed, label)
    ras = nibabel.orientations.axcodes2ornt("RAS")
    turn = nibabel.orientations.ornt_transform(ras, nibabel.orientations.axcodes2ornt(codes))
    for folder, array in zip(("images", "labels"), whole, strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        nibabel.Nifti1Image(array, np.diag([0.7, 0.7, 5, 1])).as_reoriented(turn).to_filename(
            root / folder / f"{name}.nii.gz"
        )


def row(path, cut: Slices, **changes) -> FolderDataset:
    base = {"kind": "folder", "path": str(path), "size_px": 32, "prompt": "p", "splits": {"train": 0.5, "test": 0.5}}
    base |= {"images": PATTERNS[0], "masks": PATTERNS[1], "slices": cut.model_dump(mode="json"), "mask_threshold": 0}
    return FolderDataset.model_validate_json(json.dumps({**base, **changes}))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SLA"])
def test_a_slice_lies_as_radiologists_look_at_it_whatever_the_order_in_the_file(codes, tmp_path):
    write(tmp_path, "a", codes=codes)
    values, labels = volume(0)
    for axis in range(3):
        found = find(tmp_path, None, which(slices(axis=axis)))
        assert len(found.sources) == SHAPE[axis]
        source = found.sources[SHAPE[axis] // 2]
        image, mask = read_source(source, Reading(0))
        plane = windowed(np.take(values.astype(np.float32), source.reader.index, axis), -160, 240)
        expected = np.array([[plane[x, y] for x in range(plane.shape[0])[::-1]] for y in range(plane.shape[1])[::-1]])
        assert np.array_equal(image, np.repeat(expected[..., None], 3, 2))
        assert np.array_equal(mask, np.take(labels, source.reader.index, axis)[::-1, ::-1].T)
    image, mask = read_source(find(tmp_path, None, which(slices())).sources[4], Reading(0))
    rows, columns = np.nonzero(mask)
    assert rows.mean() < mask.shape[0] / 2  # the front is above
    assert columns.mean() < mask.shape[1] / 2  # the patient's right is on the left


@pytest.mark.parametrize(("keep", "kept"), [("all", list(range(10))), ("lesion", [3, 4, 5]), ("every 4", [0, 4, 8])])
def test_which_slices_are_kept(keep, kept, tmp_path):
    write(tmp_path, "a")
    found = find(tmp_path, None, which(slices(keep=keep)))
    assert [source.reader.index for source in found.sources] == kept
    assert [source.id for source in found.sources] == [f"a-{index:04d}" for index in kept]


def test_the_window_is_low_and_high_or_centre_and_width():
    assert slices(window={"centre": 40, "width": 400}).limits() == slices(window=[-160, 240]).limits()
    values = np.array([-1000.0, -160, 40, 240, 3000])
    assert windowed(values, -160, 240).tolist() == [0, 0, 128, 255, 255]
    for wrong in (
        {"window": [5, 5]},
        {"window": [1]},
        {"window": {"centre": 1, "width": 0}},
        {"keep": "some"},
        {"axis": 3},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            slices(**wrong)


def test_slices_of_one_volume_stay_in_one_split_and_are_prepared(tmp_path):
    for number in range(4):
        write(tmp_path / "raw", f"p{number}", number)
    for seed in range(3):
        sets = prepare(row(tmp_path / "raw", slices(keep="lesion"), seed=seed), tmp_path / f"out{seed}")
        homes = {split: {pair.group for pair in pairs.pairs} for split, pairs in sets.items()}
        assert homes["train"] & homes["test"] == set()
        assert homes["train"] | homes["test"] == {"p0", "p1", "p2", "p3"}
        assert {len(pairs) for pairs in sets.values()} == {6}
        assert all(mask.any() for pairs in sets.values() for mask in pairs.masks())
    splits = {"train": ".[:5]", "test": ".[5:]"}
    with pytest.raises(UserError, match="group p1 is in both train and test"):
        prepare(row(tmp_path / "raw", slices(keep="lesion"), splits=splits), tmp_path / "cut")


def test_several_classes_are_kept_apart_and_a_missing_threshold_is_named(tmp_path):
    for number in range(2):
        write(tmp_path / "raw", f"p{number}", number, label=number + 1)
    classes = {"tumour": 1, "cyst": 2}
    sets = prepare(row(tmp_path / "raw", slices(keep="lesion"), classes=classes), tmp_path / "out")
    assert sum(len(pairs) for pairs in sets.values()) == 6
    with pytest.raises(UserError, match=r"p0.nii.gz, slice 3: .* set mask_threshold: 0"):
        prepare(row(tmp_path / "raw", slices(keep="lesion"), mask_threshold=127), tmp_path / "two")


def test_the_doctor_reads_volumes_and_prints_the_row_that_prepare_reads(tmp_path):
    for number in range(4):
        write(tmp_path / "raw", f"p{number}", number)
    result, drawable = examine(tmp_path / "raw", None, which(slices(keep="lesion")))
    assert (result["pairs"], len(drawable)) == (12, 12)
    assert result["row"]["slices"] == {"window": [-160.0, 240.0], "axis": 2, "keep": "lesion"}
    assert result["row"]["mask_threshold"] == 0
    assert not {"sequence", "near_duplicate"} & {fault["code"] for fault in result["faults"]}
    text = json.dumps({**result["row"], "size_px": 32})
    assert len(prepare(FolderDataset.model_validate_json(text), tmp_path / "out")["train"]) == 6


def test_volumes_without_slices_in_the_row_are_named_with_the_way_in(tmp_path):
    write(tmp_path, "a")
    with pytest.raises(UserError, match="no pair can be used") as caught:
        find(tmp_path, None, Which(*PATTERNS))
    assert "a.nii.gz: is not read: NIfTI volume; name `images`, `masks` and `slices`" in caught.value.problems[0]


def spoil(path, change) -> None:
    image = nibabel.load(path)
    array, affine = change(np.asarray(image.dataobj), image.affine)
    nibabel.Nifti1Image(array, affine).to_filename(path)


SPOILT = {
    "size": ("labels", lambda array, affine: (array[:-1], affine), "differ in size, 40x36x10 and 39x36x10"),
    "affine": ("labels", lambda array, affine: (array, affine + np.eye(4)), "their affines differ"),
    "floats": ("labels", lambda array, affine: (array * np.float32(0.5), affine), "values that are no labels"),
    "large": ("labels", lambda array, affine: (array * np.int16(300), affine), "values that are no labels"),
    "4D": ("images", lambda array, affine: (np.stack([array] * 2, -1), affine), "has 4 dimensions, 3 can be read"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_volumes_that_do_not_fit_are_named_and_all_at_once(case, tmp_path):
    folder, change, text = SPOILT[case]
    for number in range(3):
        write(tmp_path, f"p{number}", number)
        if number < 2:
            spoil(tmp_path / folder / f"p{number}.nii.gz", change)
    found = find(tmp_path, None, which(slices(keep="lesion")))
    assert len(found.sources) == 3
    assert len(found.unmatched) == 2
    assert all(text in line for line in found.unmatched), found.unmatched


def test_a_picture_is_no_label_of_a_volume(tmp_path):
    write(tmp_path, "a")
    (tmp_path / "labels/a.nii.gz").unlink()
    Image.fromarray(np.zeros((40, 36), np.uint8)).save(tmp_path / "labels/a.png")
    with pytest.raises(UserError) as caught:
        find(tmp_path, None, Which("images/{id}.nii.gz", "labels/{id}.png", "", slices(keep="lesion")))
    assert caught.value.problems[0].endswith("but a.png is none: its labels must be a volume of its size, too")


def test_damaged_volumes_and_values_that_are_no_numbers_are_named(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    write(tmp_path, "c")
    whole = (tmp_path / "images/a.nii.gz").read_bytes()
    (tmp_path / "images/a.nii.gz").write_bytes(whole[: len(whole) // 2])
    spoil(tmp_path / "images/b.nii.gz", lambda array, affine: (np.where(array > 250, np.nan, array), affine))
    (tmp_path / "images/c.nii.gz").write_bytes(b"nothing")
    found = find(tmp_path, None, which(slices(keep="lesion")))
    assert "c.nii.gz: is no NIfTI volume that can be read" in found.unmatched[0]
    with pytest.raises(BadImageError, match=r"a.nii.gz: is damaged"):
        read_source(found.sources[0], Reading(0))
    with pytest.raises(BadImageError, match=r"b.nii.gz: holds values that are no numbers"):
        read_source(found.sources[3], Reading(0))


def test_a_volume_with_flipped_bytes_is_named(tmp_path):
    write(tmp_path, "a")
    path = tmp_path / "images/a.nii.gz"
    whole, told = path.read_bytes(), []
    for place in range(10, len(whole), len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        _volume.cache_clear()
        unmatched: list[str] = []
        source = Source("a", path, (tmp_path / "labels/a.nii.gz",))
        try:
            for pair in sources_of_volumes([source], slices(), unmatched)[:1]:
                read_source(pair, Reading(0))
        except BadImageError as error:
            unmatched.append(str(error))
        told += unmatched
    assert all(str(path) in line and "copy it again" in line for line in told)
    assert any("while decompressing" in line for line in told)


# DICOM ---------------------------------------------------------------------------------------------------------------


def dicom(path, pixels: np.ndarray, **tags) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    colours = pixels.ndim == 3
    base = {
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 3 if colours else 1,
        "BitsAllocated": pixels.dtype.itemsize * 8, "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1, "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2", "PatientID": "p",
    }  # fmt: skip
    for key, value in (base | ({"PlanarConfiguration": 0} if colours else {}) | tags).items():
        setattr(header, key, value)
    header.PixelData = pixels.tobytes()
    header.save_as(path)


def series(root, count: int = 4, **tags) -> np.ndarray:
    stored = np.random.default_rng(0).integers(0, 2000, (64, 64)).astype(np.int16)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 2000, (64, 64)).astype(np.int16) if number else stored
        dicom(root / f"x/{number}.dcm", noise, PatientID=f"patient {number // 2}", **tags)
        (root / "m").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / f"m/{number}.png")
    return stored


def of_dicom(cut: Slices) -> Which:
    return Which("x/{id}.dcm", "m/{id}.png", slices=cut)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_values_are_scaled_windowed_and_white_is_white(photometric, tmp_path):
    stored = series(tmp_path, RescaleSlope=2, RescaleIntercept=-1024, PhotometricInterpretation=photometric)
    image, mask = read_source(find(tmp_path, None, of_dicom(slices())).sources[0], Reading(127))
    expected = windowed(stored * 2.0 - 1024, -160, 240)
    assert np.array_equal(image[..., 0], 255 - expected if photometric == "MONOCHROME1" else expected)
    assert mask.sum() == 400


def test_dicom_files_of_one_patient_stay_in_one_split_and_its_name_is_not_written(tmp_path):
    series(tmp_path / "raw", count=8)
    changes = {"images": "x/{id}.dcm", "masks": "m/{id}.png", "mask_threshold": 127}
    sets = prepare(row(tmp_path / "raw", slices(), **changes), tmp_path / "out")
    homes = {split: {pair.group for pair in pairs.pairs} for split, pairs in sets.items()}
    assert homes["train"] & homes["test"] == set()
    assert len(homes["train"] | homes["test"]) == 4
    assert "patient 1" not in (tmp_path / "out/train/manifest.csv").read_text()


def test_dicom_files_without_masks_of_a_test_patient_never_enter(tmp_path):
    series(tmp_path / "raw", count=8)
    for number, patient in enumerate([f"patient {number}" for number in range(4)] + ["nobody", "else"], 20):
        noise = np.random.default_rng(number).integers(0, 2000, (64, 64)).astype(np.int16)
        dicom(tmp_path / f"raw/more/{number}.dcm", noise, PatientID=patient)
    changes = {"images": "x/{id}.dcm", "masks": "m/{id}.png", "mask_threshold": 127, "unlabelled": "more"}
    prepare(row(tmp_path / "raw", slices(), **changes), tmp_path / "out", tmp_path / "lone")
    found = read_lone_images(tmp_path / "lone")
    assert len(found) == 4  # two patients are of the test set
    assert {"more/24.dcm 24", "more/25.dcm 25"} < {image.source for image in found.rows}


def test_dicom_labels_colours_and_what_does_not_fit(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 10:20] = 1
    dicom(tmp_path / "x/0.dcm", colours)
    dicom(tmp_path / "m/0.dcm", labels)
    dicom(tmp_path / "x/1.dcm", colours[:60])
    dicom(tmp_path / "m/1.dcm", labels)
    (tmp_path / "x/2.dcm").write_bytes(b"x" * 300)
    dicom(tmp_path / "m/2.dcm", labels)
    found = find(tmp_path, None, Which("x/{id}.dcm", "m/{id}.dcm", slices=slices()))
    image, mask = read_source(found.sources[0], Reading(found.mask_threshold))
    assert np.array_equal(image, colours)
    assert mask.sum() == 100
    with pytest.raises(BadImageError, match=r"1.dcm: is 64x60 but its mask 1.dcm is 64x64"):
        read_source(found.sources[1], Reading(0))
    assert "2.dcm: is no DICOM file that can be read" in found.unmatched[0]


def palette(words: int, most: int) -> tuple[np.ndarray, dict]:
    """Return uint8 (16, 3) colours, and the tags that hold them in words of so many bits, up to `most`."""
    colours = np.random.default_rng(0).integers(0, 256, (16, 3))
    held = (colours * (most // 255)).astype(f"uint{words}")
    tags: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [16, 0, 8 if most == 255 else 16]
        tags[f"{name}PaletteColorLookupTableData"] = held[:, channel].tobytes()
    return colours.astype(np.uint8), tags


@pytest.mark.parametrize(("words", "most"), [(8, 255), (16, 255), (16, 65535)])
def test_dicom_palettes_are_read_by_their_colours(words, most, tmp_path):
    numbers = np.random.default_rng(1).integers(0, 16, (64, 64)).astype(np.uint8)
    colours, tags = palette(words, most)
    dicom(tmp_path / "0.dcm", numbers, **tags)
    assert np.array_equal(DicomFile(tmp_path / "0.dcm", (), (0, 255)).image_alone(), colours[numbers])


@pytest.mark.parametrize("meaning", ["HSV", "YBR_PARTIAL_420", ""])
def test_dicom_values_of_unknown_meaning_are_named(meaning, tmp_path):
    dicom(tmp_path / "0.dcm", np.zeros((64, 64, 3), np.uint8), PhotometricInterpretation=meaning)
    with pytest.raises(BadImageError, match=rf"0.dcm: .* is {meaning or 'missing'}, .* can be read: export it as RGB"):
        DicomFile(tmp_path / "0.dcm", (), (0, 255)).image_alone()


def test_class_numbers_in_a_jpeg_beside_dicom_files_are_refused(tmp_path):
    series(tmp_path, count=1)
    numbers = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8)), np.ones((5, 5))).astype(np.uint8) * 3
    Image.fromarray(np.pad(numbers, 12)).save(tmp_path / "m/0.jpg", quality=50)
    source = DicomFile(tmp_path / "x/0.dcm", (tmp_path / "m/0.jpg",), (0, 255))
    with pytest.raises(BadImageError, match=r"0.jpg: holds class numbers .* in a JPEG"):
        source.read(Reading(0))


DAMAGED = {
    "a patient of another kind": (b"LO\x02\x00p ", b"UL\x02\x00p "),
    "a patient of no kind": (b"LO\x02\x00p ", b"LI\x02\x00p "),
    "a form that is two": (b"1.2.840.10008.1.2.1", b"1.2.840.1000\\.1.2.1"),
    "a slope that is no number": (b"DS\x04\x002.0 ", b"DS\x04\x002.# "),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_headers_of_dicom_files_are_named(name, tmp_path):
    series(tmp_path, count=2, RescaleSlope=2)
    for number in range(2):
        (tmp_path / f"x/{number}.dcm").write_bytes(
            (tmp_path / f"x/{number}.dcm").read_bytes().replace(b"patient 0 ", b"p ").replace(b"LO\x0a", b"LO\x02")
        )
    path = tmp_path / "x/1.dcm"
    before, after = DAMAGED[name]
    assert before in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(before, after))
    try:
        found = find(tmp_path, None, of_dicom(slices()))
        told = found.unmatched
        for source in found.sources:
            read_source(source, Reading(127))
    except BadImageError as error:
        told = [str(error)]
    assert len(told) == 1
    assert re.match(rf"{path}: is no DICOM file that can be read \(.+\): copy it again", told[0])


def test_pictures_under_slices_and_slices_under_sequences_are_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "a_mask.png")
    with pytest.raises(UserError, match="is a picture, but `slices` is for volumes"):
        find(tmp_path, None, Which("{id}.png", "{id}_mask.png", slices=slices()))
    with pytest.raises(ValueError, match="sequence_likeness is not for slices"):
        row(tmp_path, slices(), sequence_likeness=0.9)
