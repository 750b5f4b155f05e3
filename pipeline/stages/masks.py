"""masks: the masks that images are sampled for, real, moved at random, new or given ones, one folder a copy."""

from pathlib import Path

from data.masks.masks import write_masks
from data.pairs.files import code_fingerprint, sha256_tree, whole_folder, work_folder
from pipeline.params import paths

READS = {"row": "masks.{masks}", "judge": "judge"}


def new_masks(dataset: str, name: str, row) -> dict:
    """Return the masks of kind inverted that `write_masks` takes, and none for other kinds.

    The words stay in .work, so that more copies, or `sample_volume`, learn nothing again.
    """
    from data.masks.config import InvertedMasks

    if not isinstance(row, InvertedMasks):
        return {}
    from data.pairs.prepared import Prepared
    from data.pairs.training import accelerator
    from siamese.anomaly.inversion import inverted_masks
    from siamese.base.load import base_info

    real, base_dir = Prepared(paths.processed(dataset)).train, paths.base(dataset)
    fingerprint = {
        "data": sha256_tree(real.folder),
        "base": base_info(base_dir)["sha256"],
        "params": row.model_dump(mode="json", exclude={"copies"}),
        "precision": accelerator().mixed_precision,
        "code": code_fingerprint("siamese.anomaly.inversion", "siamese.anomaly.words", "siamese.base"),
    }
    with work_folder(f"masks/{dataset}/{name}", fingerprint, keep=True) as work:
        return inverted_masks(real, name, row, base_dir, work)


def _write_given(dataset: str, name: str, row, out: Path) -> dict:
    from data.masks.dataset import dataset_masks
    from data.masks.dealt import write_given
    from data.masks.folder import folder_masks
    from data.pairs.files import sha256_file
    from data.pairs.manifest import MANIFEST
    from data.pairs.prepared import TRAIN, Prepared

    splits = Prepared(paths.processed(dataset)).splits()
    real = splits.pop(TRAIN)
    if row.kind == "folder":
        return write_given(folder_masks(row, name, real, splits), len(real), name, row, out)
    source = paths.processed(row.dataset, row.split)
    given = dataset_masks(row, name, real, source, splits)
    counts = write_given(given, len(real), name, row, out)
    return {**counts, "manifest_sha256": sha256_file(source / MANIFEST)}


def _write_pseudo(dataset: str, name: str, row, judge, out: Path) -> dict:
    """Write the masks of a segmenter with their images; they stay in .work, so that more copies train no other one."""
    from data.masks.dealt import write_given
    from data.masks.given import pseudo_masks
    from data.pairs.manifest import MANIFEST, read_pairs
    from data.pairs.prepared import Prepared, read_lone_images
    from data.pairs.training import accelerator
    from segmentation.training.pseudo import write_pseudo_pairs

    real, lone = Prepared(paths.processed(dataset)).train, read_lone_images(paths.unlabelled(dataset))
    fingerprint = {"data": sha256_tree(real.folder, lone.folder), "judge": judge.model_dump(mode="json")}
    fingerprint |= {"code": code_fingerprint("data.pairs", "segmentation"), "precision": accelerator().mixed_precision}
    with work_folder(f"masks/{dataset}/{name}", fingerprint, keep=True) as work:
        if not (work / "pairs" / MANIFEST).is_file():
            with whole_folder(work / "pairs") as folder:
                write_pseudo_pairs(real, lone, judge, name, folder)
        return write_given(pseudo_masks(read_pairs(work / "pairs"), name), len(real), name, row, out)


def make_masks(dataset: str, name: str, row, judge, out: Path) -> dict:
    """Write the masks of every copy of a row to out/<copy>/ and return what was counted.

    `judge` is the row of the segmenter that masks of kind pseudo are made with.

    Raises: UserError when no new mask could be drawn, or given masks cannot be used.
    """
    from data.masks.config import DatasetMasks, FolderMasks, PseudoMasks
    from data.pairs.prepared import Prepared

    if isinstance(row, PseudoMasks):
        return _write_pseudo(dataset, name, row, judge, out)
    if isinstance(row, FolderMasks | DatasetMasks):
        return _write_given(dataset, name, row, out)
    return write_masks(Prepared(paths.processed(dataset)).train, name, row, out, new_masks(dataset, name, row))


def run(item: dict, params) -> None:
    """Write outputs/masks/<dataset>/<masks>/<copy>/. Raises: UserError as `make_masks`."""
    from data.pairs.files import write_json

    dataset, name = item["dataset"], item["masks"]
    out = paths.masks(dataset, name)
    write_json(out / "counts.json", make_masks(dataset, name, params.row, params.judge, out))
