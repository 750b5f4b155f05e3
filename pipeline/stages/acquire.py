"""acquire: the archives of a data set, downloaded or put there by hand, to a folder of raw files."""

import sys

from pipeline.params import paths

READS = {"row": "downloads.{download}"}


def run(item: dict, params) -> None:
    """Write data/raw/<name>/ and record new hashes in data/checksums/<name>.json.

    Raises: UserError when the licence is not accepted or an archive cannot be had, is another or is unsafe.
    """
    from data.acquire.acquire import acquire

    name = item["download"]
    facts = acquire(name, params.row, paths.downloads(name), paths.raw(name), paths.checksums(name))
    for archive, fact in facts["archives"].items():
        sys.stderr.write(f"{archive}: SHA-256 {fact['sha256']}, {fact['hash']}\n")
