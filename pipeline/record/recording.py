"""One stage run by DVC, recorded so that no kill leaves half a dvc.lock: python -m pipeline.record.recording STAGE."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data.pairs.files import write_text
from pipeline.processes import leash
from pipeline.record.lock_file import COPY, LOCK
from pipeline.record.settings import PARAMS, TEXT

RECORDS = (LOCK.name, "rwlock")  # what DVC writes in place, again and again
MOST = 100_000  # bytes of params.yaml that go by the environment


@contextlib.contextmanager
def _replaced(path: Path, **how: Any) -> Iterator[IO]:
    """Yield a file that takes the place of `path` when the block ends well. DVC's locks let one write at a time."""
    beside = path.with_name(f"{path.name}.new") if path.name == "rwlock" else path.parent / f".dvc/tmp/{path.name}.new"
    with beside.open("w", **how) as file:
        yield file
    if path.name == LOCK.name:
        write_text(path.parent / COPY, beside.read_text(encoding="utf-8"))
    beside.replace(path)


def file_system(params: str | None = None):
    """Return DVC's file system of this machine, under which dvc.lock and DVC's list of busy files change at once.

    With `params`, params.yaml says that to DVC, whatever the file says: DVC reads it from nothing else.
    """
    from dvc.fs import LocalFileSystem

    here = os.path.abspath(PARAMS)

    class WholeFiles(LocalFileSystem):
        def open(self, path, mode="r", **kwargs):
            if params is not None and os.path.abspath(path) == here:
                return io.BytesIO(params.encode()) if "b" in mode else io.StringIO(params)
            if mode in ("w", "w+") and os.path.basename(path) in RECORDS:
                return _replaced(Path(path).resolve(), **kwargs)
            return super().open(path, mode, **kwargs)

    return WholeFiles()


def main(stage: str) -> int:
    """Run `dvc --wait-for-lock repro --single-item STAGE` and return the exit code that dvc would.

    What params.yaml says now is what DVC compares with and records, and what the stage is held to.
    """
    leash.follow_leaders()
    os.environ.update(leash.with_leader(dict(os.environ)))
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    params = PARAMS.read_text(encoding="utf-8")
    if len(params.encode()) < MOST:
        os.environ[TEXT] = params
    try:
        with Repo(fs=file_system(params), _wait_for_lock=True) as repo:
            repo.reproduce(targets=[stage], single_item=True)
    except DvcException:
        logging.getLogger("dvc").exception("")  # without a traceback: DVC's own handlers leave it out
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
