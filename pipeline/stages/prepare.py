"""prepare: a data-set row to prepared pair sets, one folder a split."""

from pipeline.params import paths

READS = {"row": "datasets.{dataset}"}


def run(item: dict, params) -> None:
    """Write data/processed/<dataset>/<split>/. Raises: UserError naming every file that cannot be used."""
    from data.prepare.prepare import prepare

    prepare(params.row, paths.processed(item["dataset"]))
