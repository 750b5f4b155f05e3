"""Export as WebDataset shards."""

import io
import json
import tarfile
import tempfile
from itertools import batched
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.export_common import Entry, Splits, about, copy_pair, progress, write_readme
from data.pairs.seeds import item_seed


def sample_key(pair_id: str) -> str:
    """Return the id without dots: a key ends at the first dot of a file's name. No two ids get the same key."""
    return pair_id.replace("%", "%25").replace(".", "%2E")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no owner and mtime 0, so that the same pairs give the same bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _add_sample(tar: tarfile.TarFile, entry: Entry, scratch: Path) -> None:
    pair, key = copy_pair(entry, scratch), sample_key(entry.pair.id)
    record = json.dumps(about(pair, entry.synthetic), sort_keys=True, ensure_ascii=False).encode()
    for ending, path in (("png", scratch / pair.image), ("mask.png", scratch / pair.mask)):
        _add(tar, f"{key}.{ending}", path.read_bytes())
        path.unlink()
    _add(tar, f"{key}.json", record)


def write_webdataset(splits: Splits, out: Path, *, shard_size: int = 1000) -> None:
    """Write <split>/000000.tar and so on, each of at most `shard_size` samples: <key>.png, <key>.mask.png, <key>.json.

    Samples are in an order drawn from their ids, so that a reader that streams meets all sources from the start.

    Raises: UserError when shard_size is below 1.
    """
    if shard_size < 1:
        raise UserError(f"--shard-size must be at least 1, got {shard_size}")
    for split, entries in splits.items():
        (out / split).mkdir()
        mixed = sorted(entries, key=lambda entry: item_seed("webdataset", entry.pair.id))
        for number, shard in enumerate(batched(progress(mixed, split), shard_size)):
            with (
                tempfile.TemporaryDirectory(dir=out) as scratch,
                tarfile.open(out / split / f"{number:06d}.tar", "w", format=tarfile.PAX_FORMAT) as tar,
            ):
                for entry in shard:
                    _add_sample(tar, entry, Path(scratch))
    lines = [
        "Shards for `webdataset.WebDataset`. A sample is `png` (RGB), `mask.png` (0 or 255) and `json` (where the pair",
        "comes from). Its key is the id of the pair, with each dot written as %2E and each % as %25.",
    ]
    write_readme(out, "Image-mask pairs as WebDataset shards", lines, splits)
