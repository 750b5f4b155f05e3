"""dvc.lock and DVC's list of busy paths, mended where a kill of plain DVC, which writes them in place, has cut them."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError

LOCK = Path("dvc.lock")
COPY = Path(".work/dvc.lock")  # as it was when it last was whole
ASIDE = Path(".work/dvc.lock.broken")
DVC_LOCK = Path(".dvc/tmp/lock")
BUSY = Path(".dvc/tmp/rwlock")
WAIT_S = 5


def _written_to_its_end(item: Any) -> bool:
    """Return whether a file has its hash and size in dvc.lock, and a folder its number of files."""
    folder = isinstance(item, dict) and str(item.get("md5")).endswith(".dir")
    return isinstance(item, dict) and {"path", "md5", "size", *(["nfiles"] if folder else [])} <= set(item)


def _stages(text: str) -> dict[str, Any] | None:
    """Return the entries of a dvc.lock; None when the text was cut, or is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not text.endswith("\n"):
        return None
    try:
        data = YAML(typ="safe").load(text)
    except (YAMLError, ValueError):
        return None
    stages = data.get("stages") if isinstance(data, dict) and data.get("schema") == "2.0" else None
    if not isinstance(stages, dict) or not all(isinstance(one, dict) and "cmd" in one for one in stages.values()):
        return None
    lists = [one[key] for one in stages.values() for key in ("deps", "outs") if key in one]
    if not all(isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in lists):
        return None
    last = next(reversed(stages.values()), None)
    whole = last is None or (last.get("outs") and _written_to_its_end(last["outs"][-1]))
    return stages if whole else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _committed() -> str:
    found = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 else ""


def _broken(text: str) -> bool:
    """Return whether a dvc.lock was cut: it does not read, or is the first part of the last whole one."""
    stages, before = _stages(text), _stages(_read(COPY)) or {}
    if stages is None:
        return True
    names, earlier = list(stages), list(before)
    return len(names) < len(earlier) and names == earlier[: len(names)] and text != _committed()


def _same_file(one: Path, two: Path) -> bool:
    try:
        return (one.stat().st_size, one.stat().st_mtime_ns) == (two.stat().st_size, two.stat().st_mtime_ns)
    except FileNotFoundError:
        return False


def keep_copy() -> None:
    """Keep dvc.lock in .work if it is whole: a stage does this at its start, when DVC writes nothing."""
    if not LOCK.is_file() or _same_file(LOCK, COPY) or _broken(_read(LOCK)):
        return
    with contextlib.suppress(OSError):  # a folder that is only read
        COPY.parent.mkdir(exist_ok=True)
        beside = COPY.with_name(f"{COPY.name}.{os.getpid()}")
        shutil.copy2(LOCK, beside)
        beside.replace(COPY)


def _hardlinks() -> bool:
    """Return whether DVC's lock is a file that is there while it is held, as on shared file systems."""
    from configparser import ConfigParser

    config = ConfigParser()
    with contextlib.suppress(Exception):  # a config that DVC will complain of
        config.read([".dvc/config", ".dvc/config.local"])
    return config.get("core", "hardlink_lock", fallback="false").lower() == "true"


@contextlib.contextmanager
def _no_dvc_writes() -> Iterator[None]:
    """Hold DVC's lock. Raises: UserError when another process does."""
    deadline = time.monotonic() + WAIT_S
    DVC_LOCK.parent.mkdir(parents=True, exist_ok=True)
    message = f"{LOCK} or {BUSY} is being written, or broken: a DVC that runs here holds {DVC_LOCK}"
    if _hardlinks():
        while DVC_LOCK.exists():
            if time.monotonic() > deadline:
                raise UserError(message, ["if no DVC runs, on this machine or another, remove that file and try again"])
            time.sleep(0.1)
        yield
        return
    with DVC_LOCK.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise UserError(message, ["wait for it, or end it, and try again"]) from error
                time.sleep(0.1)
        yield


def _busy() -> dict[str, Any] | None:
    """Return DVC's list of the paths that its processes read and write; None when it is cut."""
    try:
        busy = json.loads(_read(BUSY)) if BUSY.exists() else {}
        for kind in ("read", "write"):
            for held in busy.get(kind, {}).values():
                for one in held if isinstance(held, list) else [held]:
                    int(one["pid"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return busy


def _is_stranger(process: int) -> bool:
    """Return whether DVC would wait for a process that is no DVC: another of that number, or one that nobody buries.

    DVC forgets those that are gone. In a container the first process may bury its orphans late or never.
    """
    import psutil

    try:
        return not any("dvc" in word or "pipeline" in word for word in psutil.Process(process).cmdline())
    except psutil.ZombieProcess:
        return True
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _blocked() -> bool:
    busy = _busy()
    if busy is None:
        return True
    entries = [entry for kind in busy.values() for entry in kind.values()]
    held = [one for entry in entries for one in (entry if isinstance(entry, list) else [entry])]
    return not _hardlinks() and any(_is_stranger(one["pid"]) for one in held)


def mend() -> list[str]:
    """Put dvc.lock back as it was when it last was whole, drop a broken list of busy paths, and return what was done.

    A stage whose entry is lost runs again or comes out of DVC's cache, with the same bytes.

    Raises: UserError when they are broken and a DVC is at work.
    """
    done = []
    if LOCK.is_file() and _broken(_read(LOCK)):
        with _no_dvc_writes():
            text = _read(LOCK)
            if _broken(text):
                done.append(_put_back(text))
    if _blocked():
        with _no_dvc_writes():
            if _blocked():
                BUSY.unlink()
                done.append(f"{BUSY} named paths as busy for processes that are gone, or was cut: it was removed")
    keep_copy()
    return done


def _put_back(text: str) -> str:
    ASIDE.parent.mkdir(exist_ok=True)
    ASIDE.write_text(text, encoding="utf-8")
    told = f"{LOCK} was cut while DVC wrote it (kept as {ASIDE})"
    for source, good in (("the last whole one", _read(COPY)), ("that of the last commit", _committed())):
        if good and _stages(good) is not None:
            beside = COPY.with_name(f"{COPY.name}.{os.getpid()}")
            beside.write_text(good, encoding="utf-8")
            beside.replace(LOCK)
            return f"{told}: {source} is back, and what it lacks runs again or comes out of DVC's cache"
    LOCK.unlink()
    return f"{told} and there is no whole one: every stage runs again or comes out of DVC's cache"
