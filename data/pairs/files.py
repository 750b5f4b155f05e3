"""Hashes, whole-or-nothing writes and the scratch folders from which long work resumes."""

import contextlib
import fcntl
import glob
import hashlib
import json
import math
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError, one_line

# what is still being written, beside its place: .NAME.HOST-PID.tmp; .gitignore and .dvcignore name it too
TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<process>\d+)\.(?:tmp|partial)")


class NotFiniteError(UserError, ValueError):
    """Values that JSON does not have."""


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(*paths: Path) -> str:
    """Return one hex SHA-256 for files and folders: names and contents; no times, bytecode, temporary files."""
    digest = hashlib.sha256()
    for root in paths:
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        for path in files:
            if "__pycache__" not in path.parts and not any(map(TEMPORARY.fullmatch, path.relative_to(root).parts)):
                name = path.name if path == root else path.relative_to(root).as_posix()
                digest.update(f"{name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _host() -> str:
    return socket.gethostname().replace(".", "_")


def _runs(process: int) -> bool:
    """Return whether another process with this number runs on this machine; one that waits to be buried does not."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or no /proc here
        return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _beside(target: Path, kind: str) -> Path:
    """Return where to write what will be `target`, after removing what processes that are gone have left there."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.{kind}"):
        left = TEMPORARY.fullmatch(path.name)
        if left and not (left["host"] == _host() and _runs(int(left["process"]))):
            _remove(path)
    return target.with_name(f".{target.name}.{_host()}-{os.getpid()}.{kind}")


def sweep(*roots: Path) -> list[Path]:
    """Remove every temporary file and folder below these folders whose process ran here and is gone; return them."""
    swept = []
    for root in roots:
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                left = TEMPORARY.fullmatch(name)
                if left and left["host"] == _host() and not _runs(int(left["process"])):
                    swept.append(Path(folder, name))
                    _remove(swept[-1])
    return sorted(swept)


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file, and make the folder that it goes to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` for a file that takes its place when the block ends well, and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(target, "tmp")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, of which nobody ever reads half."""
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write JSON with sorted keys; what could not be computed is null with a reason.

    Raises: NotFiniteError naming every value that is NaN or infinite.
    """
    if bad := list(_not_finite(value)):
        raise NotFiniteError(f"{path}: values that are not finite (NaN or infinite), which are not JSON compliant", bad)
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, what_to_do: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return the object in a file of JSON. Raises: UserError for one that is damaged, is no object or lacks keys."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {what_to_do}", [one_line(str(error))]) from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: {what_to_do}", [f"it holds a {type(value).__name__}, not an object"])
    if lacking := [name for name in keys if name not in value]:
        raise UserError(f"{path} is damaged: {what_to_do}", [f"it lacks {', '.join(lacking)}"])
    return value


def _not_finite(value: object, where: str = "") -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield where or "the value"
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, one in inner:
        yield from _not_finite(one, f"{where}.{key}" if where else str(key))


def is_main_process() -> bool:
    """Return whether this process writes: the only one, or the first of those that accelerate launch has started."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place when the block ends well, and vanishes otherwise.

    Only the main process makes it; the others get a path to which they must not write.
    """
    if not is_main_process():
        yield target.with_name(f".{target.name}.not-the-main-process.partial")
        return
    beside = _beside(target, "partial")
    beside.mkdir(parents=True)
    try:
        yield beside
        shutil.rmtree(target, ignore_errors=True)
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def work_folder(name: str, fingerprint: Mapping[str, object], *, keep: bool = False) -> Iterator[Path]:
    """Yield the private folder `.work/<name>/<hash of fingerprint>`; the variable SIAMESE_WORK moves its root.

    It outlives a crash, is dropped when its inputs change, and goes when the block ends well, unless `keep` says that
    other runs go on from it. The processes of one run share it: the main one makes and drops it, the others wait.

    Raises: UserError when another run holds the lock, such as an orphan of a killed `dvc repro`; `keep` waits for it.
    """
    root = Path(os.environ.get("SIAMESE_WORK", ".work")) / name
    key = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    if not is_main_process():
        yield root / key
        return
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not keep:
                what_to_do = "wait for it or stop it, then run again"
                raise UserError(f"another process is already working on {name}: {what_to_do}") from error
            sys.stderr.write(f"another process is already working on {name}: waiting for it\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for old in root.iterdir():
            if old.is_dir() and old.name != key:
                shutil.rmtree(old)
        path = root / key
        path.mkdir(exist_ok=True)
        yield path
        if not keep:
            shutil.rmtree(path)


def code_fingerprint(*packages: str) -> str:
    """Return one hash of the modules below these packages that are loaded: older code's work is never resumed."""
    files = {
        str(module.__file__)
        for name, module in list(sys.modules.items())
        if f"{name}.".startswith(tuple(f"{package}." for package in packages)) and getattr(module, "__file__", None)
    }
    return sha256_tree(*(Path(file) for file in sorted(files)))
