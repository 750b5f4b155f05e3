"""What a stage was started with, and whether that still holds at its end: DVC records what it finds then."""

import contextlib
import os
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from data.pairs.errors import UserError, few
from data.pairs.files import TEMPORARY, sha256_file
from pipeline.params.yaml_text import load_yaml
from pipeline.record.settings import PARAMS, TEXT, dependencies, look_up

HASHED = 16 << 20  # bytes: of more, the largest files are known by size and time alone
SETTLE_S = 1  # an editor may be writing just now


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__" and not TEMPORARY.fullmatch(name)]
        yield from (Path(folder, name) for name in files if not (name.endswith(".pyc") or TEMPORARY.fullmatch(name)))


def _looks(roots: list[Path]) -> dict[Path, tuple[int, int, int]]:
    """Return the size, time and inode of every file."""
    looks = {}
    for path in chain.from_iterable(map(_files, roots)):
        with contextlib.suppress(OSError):  # not there, or no longer
            state = path.stat()
            looks[path] = (state.st_size, state.st_mtime_ns, state.st_ino)
    return looks


class Snapshot:
    """The sections of params.yaml that a stage reads and the files that it depends on by dvc.yaml, as they are now."""

    def __init__(self, keys: list[str]) -> None:
        self.keys, self.stage = keys, os.environ.get("DVC_STAGE", "")
        self.seen = PARAMS.read_text(encoding="utf-8") if PARAMS.is_file() else ""
        self.text = os.environ.get(TEXT, self.seen)
        self.roots: list[Path] = []
        if self.stage and Path("dvc.yaml").is_file():
            graph = load_yaml(Path("dvc.yaml").read_text(encoding="utf-8"), Path("dvc.yaml"))
            self.roots = dependencies(self.stage, graph, load_yaml(self.text, PARAMS) or {})
        if not keys:  # the check, which reads all of it, and of which DVC records the file itself
            self.roots.append(PARAMS)
        self.looks, self.hashes = _looks(self.roots), dict[Path, str]()
        room = HASHED
        for path, (size, *_) in sorted(self.looks.items(), key=lambda entry: entry[1][0]):
            room -= size
            if room < 0:
                break
            self.hashes[path] = sha256_file(path)

    def _params_changes(self) -> list[str]:
        try:
            now = PARAMS.read_text(encoding="utf-8")
            if now == self.seen == self.text:
                return []
            before, seen, after = (load_yaml(text, PARAMS) for text in (self.text, self.seen, now))
        except Exception as error:  # noqa: BLE001 (whatever a file that is no YAML any more raises)
            return [f"{PARAMS}: not readable now ({type(error).__name__})"]
        changed = (key for key in self.keys if not look_up(before, key) == look_up(seen, key) == look_up(after, key))
        return [f"{PARAMS}: {key}" for key in changed]

    def _file_changes(self) -> list[str]:
        now, changes = _looks(self.roots), []
        for path in sorted({*self.looks, *now}):
            if path not in now or path not in self.looks:
                changes.append(f"{path}: {'gone' if path not in now else 'new'}")
            elif now[path] != self.looks[path]:
                same_size = now[path][0] == self.looks[path][0]
                if not (same_size and path in self.hashes and sha256_file(path) == self.hashes[path]):
                    changes.append(f"{path}: changed")
        return changes

    def changes(self) -> list[str]:
        """Return what has changed since, one line each: sections of params.yaml, files that are new, gone or changed.

        Another section, another layout of the file and a file that was only touched are no change.
        """
        until = time.monotonic() + SETTLE_S
        while changes := [*self._params_changes(), *self._file_changes()]:
            if time.monotonic() > until:
                break
            time.sleep(0.2)
        return changes

    def check(self) -> None:
        """Raises: UserError when something has changed, so that DVC records nothing."""
        changes = self.changes()
        if changes:
            advice = "run it again" + (
                f"; or put all back as it was and keep what was made: dvc commit -f {self.stage}" if self.stage else ""
            )
            title = f"{self.stage or 'the stage'}: what it was started with has changed, so nothing is recorded"
            raise UserError(title, [*few(changes), advice])
