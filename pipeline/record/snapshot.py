"""What a stage was started with, and whether that still holds at its end: DVC records what it finds then."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from data.pairs.files import TEMPORARY, sha256_file
from pipeline.record.settings import PARAMS, TEXT, dependencies, look_up

HASHED = 16 << 20  # bytes: of more, the largest files are known by size and time alone
SHOWN = 10
SETTLE_S = 1  # an editor may be writing just now


class _File(NamedTuple):
    """`looks` are size, time and inode; `sha256` is None for a large file."""

    looks: tuple[int, int, int]
    sha256: str | None


def _files(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_dir():
            for folder, folders, files in os.walk(root):
                folders[:] = [name for name in folders if name != "__pycache__" and not TEMPORARY.fullmatch(name)]
                yield from (Path(folder, name) for name in files if not name.endswith(".pyc"))
        else:
            yield root


def _looks(roots: list[Path]) -> dict[Path, tuple[int, int, int]]:
    found = {}
    for path in _files(roots):
        try:
            state = path.stat()
        except OSError:  # not there, or no longer
            continue
        if not TEMPORARY.fullmatch(path.name):
            found[path] = (state.st_size, state.st_mtime_ns, state.st_ino)
    return found


def _yaml(text: str) -> Any:
    from pipeline.params.yaml_text import load_yaml

    return load_yaml(text, PARAMS)


class Snapshot:
    """The sections of params.yaml that a stage reads and the files that it depends on by dvc.yaml, as they are now."""

    def __init__(self, keys: list[str]) -> None:
        self.keys, self.stage = keys, os.environ.get("DVC_STAGE", "")
        self.seen = PARAMS.read_text(encoding="utf-8") if PARAMS.is_file() else ""
        self.text = os.environ.get(TEXT, self.seen)
        self.roots: list[Path] = []
        if self.stage and Path("dvc.yaml").is_file():
            graph = _yaml(Path("dvc.yaml").read_text(encoding="utf-8"))
            self.roots = dependencies(self.stage, graph, _yaml(self.text) or {})
        if not keys:  # the check, which reads all of it, and of which DVC records the file itself
            self.roots.append(PARAMS)
        self.files: dict[Path, _File] = {}
        room = HASHED
        for path, looks in sorted(_looks(self.roots).items(), key=lambda entry: entry[1][0]):
            room -= looks[0]
            self.files[path] = _File(looks, sha256_file(path) if room >= 0 else None)

    def _sections_differ(self, text: str) -> list[str]:
        if text == self.text:
            return []
        before, after = _yaml(self.text), _yaml(text)
        return [f"{PARAMS}: {key}" for key in self.keys if look_up(before, key) != look_up(after, key)]

    def _params_changes(self) -> list[str]:
        try:
            now = PARAMS.read_text(encoding="utf-8")
            return self._sections_differ(self.seen) or self._sections_differ(now)
        except Exception as error:  # noqa: BLE001 (whatever a file that is no YAML any more raises)
            return [f"{PARAMS}: not readable now ({type(error).__name__})"]

    def _file_changes(self) -> list[str]:
        now, changes = _looks(self.roots), []
        for path in sorted({*self.files, *now}):
            if path not in now or path not in self.files:
                changes.append(f"{path}: {'gone' if path not in now else 'new'}")
            elif now[path] != self.files[path].looks:
                before = self.files[path]
                same_size = now[path][0] == before.looks[0]
                if not (same_size and before.sha256 and sha256_file(path) == before.sha256):
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
            more = [f"and {len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
            advice = "run it again" + (
                f"; or put all back as it was and keep what was made: dvc commit -f {self.stage}" if self.stage else ""
            )
            title = f"{self.stage or 'the stage'}: what it was started with has changed, so nothing is recorded"
            raise UserError(title, [*changes[:SHOWN], *more, advice])
