"""WebDataset: tar archives with <id>.png, <id>.mask.png and <id>.json side by side."""

import io
import json
import tarfile
from pathlib import Path

from data.exports.bundle import Bundle, facts, mask_values, write_readme
from data.exports.formats import Options
from data.pairs.errors import UserError

HOW = """\
Archives `<split>-000000.tar`, ...; each pair is `<id>.png` (RGB), `<id>.mask.png`, `<id>.json`. Nothing is shuffled,
and the synthetic pairs come last: shuffle the shards and keep a large buffer.

    webdataset.WebDataset("train-000000.tar", shardshuffle=False).decode("pil").to_tuple("png", "mask.png", "json")

"""


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write <split>-000000.tar, ... of at most options.shard_pairs pairs; members have no clock time and no owner.

    Raises: UserError when shard_pairs is below 1.
    """
    if options.shard_pairs < 1:
        raise UserError(f"shard pairs: {options.shard_pairs} is too few, at least 1 is needed")
    for split, items in bundle.splits.items():
        for number, start in enumerate(range(0, len(items), options.shard_pairs)):
            with tarfile.open(folder / f"{split}-{number:06d}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
                for item in items[start : start + options.shard_pairs]:
                    source = item.pair_set.folder
                    members = {
                        "json": json.dumps({**facts(item), "split": split}, sort_keys=True).encode(),
                        "mask.png": (source / item.pair.mask).read_bytes(),
                        "png": (source / item.pair.image).read_bytes(),
                    }
                    for ending, data in members.items():
                        member = tarfile.TarInfo(f"{item.id}.{ending}")  # its time and owner are 0 unless they are set
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
    write_readme(folder / "README.md", bundle, f"{options.name}: WebDataset", HOW + mask_values(bundle))
