"""Given masks dealt out to the copies.

A copy holds as many masks as there are training pairs: the given ones take turns, in an order drawn by the seed, and go
on in the next copy where they stopped in the one before. Each use of a mask has an id and so a noise of its own, and
neither depends on how many copies there are.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from data.drawing import evenly, tiled
from data.masks.constraints import touches_border
from data.masks.given import Given
from data.masks.given_config import GivenMasks
from data.masks.preview import GAP_PX, TILE_PX, mask_tile
from data.pairs.files import copy_file, whole_folder
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, class_names, complete, content, file_names, write_manifest
from data.pairs.parallel import threaded
from data.pairs.seeds import item_seed
from data.pairs.tables import write_table

PROVENANCE = ("id", "parent", "origin", "copy", "use", "area", "touches_border")
SHOWN, COLUMNS = 32, 8  # of the preview


def write_given(given: Sequence[Given], count: int, name: str, row: GivenMasks, out: Path) -> dict:
    """Write `count` masks a copy to out/<copy>/ and a picture of some of the first; return what was counted.

    A folder of masks is a pair set, without images unless the masks came with them, and provenance.csv beside it.
    """
    order = sorted(given, key=lambda mask: item_seed(row.seed, "given", mask.row.id))
    tasks = [
        (place // count + 1, place // len(order) + 1, order[place % len(order)]) for place in range(row.copies * count)
    ]

    with whole_folder(out) as folder:

        def write(task: tuple[int, int, Given]) -> tuple[Pair, dict[str, object]]:
            copy, use, mask = task
            mask_id, labels = f"{mask.row.id}-{name}-{use}", mask.labels
            image, mask_name = file_names(mask_id)
            pair = replace(mask.row, id=mask_id, image=image if mask.image else "", mask=mask_name)
            if mask.image:
                copy_file(mask.image, folder / str(copy) / image)
            write_mask(folder / str(copy) / pair.mask, labels, len(class_names(pair)))
            pair = complete(folder / str(copy), pair)
            facts = {"area": pair.foreground, "touches_border": int(touches_border(content(pair, labels)))}
            return pair, {
                "id": mask_id,
                "parent": pair.parent,
                "origin": mask.origin,
                "copy": copy,
                "use": use,
                **facts,
            }

        done = threaded(write, tasks, title="masks", unit="mask")
        for copy in range(1, row.copies + 1):
            made = list(islice(done, count))
            write_manifest(folder / str(copy), [pair for pair, _ in made])
            write_table(folder / str(copy) / "provenance.csv", PROVENANCE, [line for _, line in made])
        shown = evenly([mask for _, _, mask in tasks[:count]], SHOWN)
        write_image(
            folder / "preview.png",
            tiled([mask_tile(mask.labels) for mask in shown], COLUMNS, TILE_PX, GAP_PX, (90, 90, 90)),
        )
    return {
        "masks": len(tasks),
        "given": len(given),
        "most_uses": tasks[-1][1],
        "without_lesion": sum(not mask.facts.foreground for _, _, mask in tasks),
    }
