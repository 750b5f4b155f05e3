"""One stage run by DVC, recorded so that no kill leaves half a dvc.lock: python -m pipeline.record.recording STAGE."""

import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data.pairs.files import write_text
from pipeline.processes import leash
from pipeline.record.lock_file import COPY, LOCK, text_of
from pipeline.record.settings import PARAMS, TEXT

RECORDS = (LOCK.name, "rwlock")  # what DVC writes in place, again and again
MOST = 100_000  # bytes of params.yaml that go by the environment
HEAD = "schema: '2.0'\nstages:\n"
LONGEST = 100  # letters of a stage's name: from 128 on YAML lays its entry out in another way
ENTRY = re.compile(r"^  ([^\s'\"?#].*):\n(?:   .*\n|\n)*", re.MULTILINE)


def _entries(text: str) -> dict[str, str] | None:
    """Return the text of each stage of a dvc.lock; None when it is not laid out as DVC lays it out."""
    entries = {match[1]: match[0] for match in ENTRY.finditer(text)}
    return entries if HEAD + "".join(entries.values()) == text else None


def of_stage(text: str, stage: str) -> str:
    """Return a dvc.lock with the entry of one stage: DVC takes seconds to read and write those of some hundred.

    For a stage that has none it is that of another, because DVC takes no dvc.lock without any.
    """
    entries = _entries(text)
    if not entries or len(stage) > LONGEST:
        return text
    return HEAD + entries.get(stage, next(iter(entries.values())))


def with_stage(text: str, part: str) -> str:
    """Return a dvc.lock with the entries of another, each in the place that it had, or last."""
    entries, new = _entries(text or HEAD), _entries(part)
    return part if entries is None or new is None else HEAD + "".join((entries | new).values())


@contextlib.contextmanager
def _replaced(path: Path, one_stage: bool, **how: Any) -> Iterator[IO]:
    """Yield a file that takes the place of `path` when the block ends well. DVC's locks let one write at a time.

    Of dvc.lock it may hold the entry of one stage.
    """
    beside = path.with_name(f"{path.name}.new") if path.name == "rwlock" else path.parent / f".dvc/tmp/{path.name}.new"
    with beside.open("w", **how) as file:
        yield file
    if path.name == LOCK.name:
        if one_stage:
            beside.write_text(with_stage(text_of(path), text_of(beside)), encoding="utf-8")
        write_text(path.parent / COPY, text_of(beside))
    beside.replace(path)


def file_system(params: str | None = None, stage: str | None = None):
    """Return DVC's file system of this machine, under which dvc.lock and DVC's list of busy files change at once.

    With `params`, params.yaml says that to DVC, whatever the file says: DVC reads it from nothing else. With `stage`,
    DVC sees and writes the entry of that stage in dvc.lock, and the others stay as they are.
    """
    from dvc.fs import LocalFileSystem

    texts = {} if params is None else {os.path.abspath(PARAMS): lambda: params}
    if stage and LOCK.exists():
        texts[os.path.abspath(LOCK)] = lambda: of_stage(text_of(LOCK), stage)

    class WholeFiles(LocalFileSystem):
        def open(self, path, mode="r", **kwargs):
            if mode in ("w", "w+") and os.path.basename(path) in RECORDS:
                return _replaced(Path(path).resolve(), stage is not None, **kwargs)
            if text := texts.get(os.path.abspath(path)):
                return io.BytesIO(text().encode()) if "b" in mode else io.StringIO(text())
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
        with Repo(fs=file_system(params, stage), _wait_for_lock=True) as repo:
            repo.reproduce(targets=[stage], single_item=True)
    except DvcException:
        logging.getLogger("dvc").exception("")  # without a traceback: DVC's own handlers leave it out
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
