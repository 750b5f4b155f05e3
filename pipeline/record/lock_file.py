"""mend: put dvc.lock and DVC's list of busy paths right where a kill of plain DVC, which writes in place, cut them."""

import argparse
import contextlib
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data.pairs.errors import UserError
from data.pairs.files import write_text

LOCK = Path("dvc.lock")
COPY = Path(".work/dvc.lock")  # as it was when it last was whole
ASIDE = Path(".work/dvc.lock.broken")
DVC_LOCK = Path(".dvc/tmp/lock")
BUSY = Path(".dvc/tmp/rwlock")
WAIT_S = 5


def _complete(out: dict[str, Any]) -> bool:
    """Return whether a file has its hash and size in dvc.lock, and a folder its number of files."""
    return {"path", "md5", "size"} <= out.keys() and ("nfiles" in out or not str(out["md5"]).endswith(".dir"))


def _stages(text: str) -> dict[str, Any] | None:
    """Return the entries of a dvc.lock; None when the text was cut, or is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not text.endswith("\n"):
        return None
    try:
        data = YAML(typ="safe").load(text)
        stages = data["stages"]
        items = [item for stage in stages.values() for key in ("deps", "outs") for item in stage.get(key, [])]
        whole = data["schema"] == "2.0" and all("cmd" in stage for stage in stages.values())
        whole = whole and all(isinstance(item, dict) for item in items)
        whole = whole and (not stages or _complete(next(reversed(stages.values()))["outs"][-1]))
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return stages if whole else None


def text_of(path: Path) -> str:
    """Return the text of a dvc.lock, or of another file that DVC writes; empty where it is missing or is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _committed() -> str:
    shown = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True, text=True, check=False)
    return shown.stdout if shown.returncode == 0 else ""


def _broken(text: str) -> bool:
    """Return whether a dvc.lock was cut: it does not read, or is the first part of the last whole one."""
    stages, before = _stages(text), _stages(text_of(COPY)) or {}
    if stages is None:
        return True
    names, earlier = list(stages), list(before)
    return len(names) < len(earlier) and names == earlier[: len(names)] and text != _committed()


def keep_copy() -> None:
    """Keep dvc.lock in .work if it is whole: a stage does this at its start, when DVC writes nothing."""
    text = text_of(LOCK)
    if text and text != text_of(COPY) and not _broken(text):
        with contextlib.suppress(OSError):  # a folder that is only read
            write_text(COPY, text)


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
    DVC_LOCK.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WAIT_S
    with contextlib.nullcontext() if _hardlinks() else DVC_LOCK.open("a") as file:
        while not _flocked(file) if file else DVC_LOCK.exists():
            if time.monotonic() > deadline:
                title = f"{LOCK} or {BUSY} is being written, or broken: a DVC that runs here holds {DVC_LOCK}"
                by_file = "if no DVC runs, on this machine or another, remove that file and try again"
                raise UserError(title, ["wait for it, or end it, and try again" if file else by_file])
            time.sleep(0.1)
        yield


def _flocked(file: IO) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


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
    """Return whether DVC's list of the paths that processes read and write is cut, or names one that is no DVC."""
    try:
        busy = json.loads(text_of(BUSY)) if BUSY.exists() else {}
        entries = [entry for kind in ("read", "write") for entry in busy.get(kind, {}).values()]
        numbers = [int(use["pid"]) for entry in entries for use in (entry if isinstance(entry, list) else [entry])]
    except (ValueError, TypeError, KeyError, AttributeError):
        return True
    return not _hardlinks() and any(map(_is_stranger, numbers))


def mend() -> list[str]:
    """Put dvc.lock back as it was when it last was whole, drop a broken list of busy paths, and return what was done.

    A stage whose entry is lost runs again or comes out of DVC's cache, with the same bytes.

    Raises: UserError when they are broken and a DVC is at work.
    """
    done = []
    if (LOCK.is_file() and _broken(text_of(LOCK))) or _blocked():
        with _no_dvc_writes():  # which may have ended meanwhile
            if LOCK.is_file() and _broken(text := text_of(LOCK)):
                done.append(_put_back(text))
            if _blocked():
                BUSY.unlink()
                done.append(f"{BUSY} named paths as busy for processes that are gone, or was cut: it was removed")
    keep_copy()
    return done


def _put_back(text: str) -> str:
    write_text(ASIDE, text)
    cut = f"{LOCK} was cut while DVC wrote it (kept as {ASIDE})"
    for source, good in (("the last whole one", text_of(COPY)), ("that of the last commit", _committed())):
        if good and _stages(good) is not None:
            write_text(LOCK, good)
            return f"{cut}: {source} is back, and what it lacks runs again or comes out of DVC's cache"
    LOCK.unlink()
    return f"{cut} and there is no whole one: every stage runs again or comes out of DVC's cache"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the verb has no options."""


def run(item: dict[str, Any]) -> None:
    """Mend and print what was done. Raises: UserError when a DVC is at work."""
    sys.stdout.write("\n".join([*(mend() or ["nothing is broken"]), ""]))
