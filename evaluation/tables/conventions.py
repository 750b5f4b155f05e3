"""One table with every evaluation convention side by side, because numbers of different ones cannot be compared."""

from collections.abc import Sequence

from evaluation.results.comparison import summary_of
from evaluation.results.results import Grid, Run
from evaluation.tables.tables import by_setting, setting_name
from evaluation.tables.text import MISSING, TIMES, Cell, counted, markdown, percent

# metric of results/segmentation -> column; docs/evaluation.md says what each is and which table of the paper uses it
COLUMNS = {
    "mDice_thr256": "Dice, 256 thresholds",
    "mIoU_thr256": "IoU, 256 thresholds",
    "maxDice_thr256": "max Dice",
    "mDice": "Dice, lesion, per image",
    "mIoU": "IoU, lesion, per image",
    "mDice_classavg": "Dice, both classes, per image",
    "mIoU_classavg": "IoU, both classes, per image",
    "mDice_pooled": "Dice, lesion, pooled",
    "mIoU_pooled": "IoU, lesion, pooled",
    "mIoU_two_class_pooled": "IoU, both classes, pooled",
    "mae": "MAE",
    "s_measure": "S",
    "weighted_f": "weighted F",
    "e_measure": "E",
    "e_measure_max": "max E",
}
NOTE = (
    f"All from one pass of predictions, in %, mean over seeds (of the generator {TIMES} of the segmenter, where the "
    "generator has several). Table 2 of the paper has the 256 thresholds; Table 3 has "
    "for UNet the pooled Dice of the lesion beside the pooled IoU of both classes, and for SegFormer both classes per "
    "image. Columns cannot be compared with one another: docs/evaluation.md."
)


def _seeds(runs: Sequence[Run]) -> str:
    seeds = [run.key.seeds for run in runs]
    return counted(seeds, seeds)


def render_conventions(dataset: str, runs: Sequence[Run], grid: Grid) -> str:
    """Return the Markdown page of a data set: one row for each architecture and training set that was asked for."""
    rows = []
    asked = [run for run in grid.asked(runs) if run.key.dataset == dataset]
    for (_, architecture, setting), group in by_setting(asked).items():
        means = [summary_of(group, name).mean for name in COLUMNS]
        texts = [MISSING if mean is None else percent(mean) for mean in means]
        rows.append([Cell(text) for text in (architecture, setting_name(setting), *texts, _seeds(group))])
    lines = markdown(["Architecture", "Trained on", *COLUMNS.values(), "Seeds"], rows, 2)
    return "\n".join([f"# {dataset}: every convention", "", *lines, "", NOTE, ""])
