"""sample_volume: one multiple, which holds what the smaller ones hold; its masks are those that `masks` writes."""

from pathlib import Path

from data.pairs.files import is_main_process
from pipeline.stages.masks import make_masks
from pipeline.stages.sample import sample_multiple

READS = {"sampling": "sampling", "row": "masks.{masks}", "judge": "judge"}


def run(item: dict, params) -> None:
    """Write outputs/samples/x<multiple>/<dataset>/<generator>-g<generator_seed>-<masks>/.

    What a smaller multiple has drawn is taken over.
    """

    def write_copies(work: Path) -> Path:
        from data.pairs.training import accelerator

        folder = work / "masks"
        if is_main_process():
            row = params.row.model_copy(update={"copies": item["multiple"]})
            make_masks(item["dataset"], item["masks"], row, params.judge, folder)
        accelerator().wait_for_everyone()
        return folder

    sample_multiple(item, params.sampling, item["multiple"], write_copies)
