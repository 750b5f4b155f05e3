"""prepare: a data-set row to prepared pair sets, one folder a split, and the images without masks that it names."""

from pipeline.params import paths

READS = {"row": "datasets.{dataset}"}


def run(item: dict, params) -> None:
    """Write data/processed/<dataset>/<split>/ and data/unlabelled/<dataset>/, which may hold no image.

    Raises: UserError naming every file that cannot be used.
    """
    from data.prepare.prepare import prepare

    prepare(params.row, paths.processed(item["dataset"]), paths.unlabelled(item["dataset"]))
