"""DVC's locks by hard link (core.hardlink_lock), for file systems without flock. DVC waits for one that is left.

A DVC that is killed while it holds one leaves it. The file of a lock by flock from before that setting blocks as well.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCKS = (Path(".dvc/tmp/lock"), Path(".dvc/tmp/rwlock.lock"))
WAIT_S = 60
LIFETIME_S = 365 * 24 * 3600  # a lock by hard link is dated by when it ends


def held_locks(older_than_s: float = 0) -> list[str]:
    """Return a line for each lock by hard link that was taken so many seconds ago, with what frees it."""
    lines = []
    for path in LOCKS:
        with contextlib.suppress(FileNotFoundError):
            age = time.time() - (path.stat().st_mtime - LIFETIME_S)
            if older_than_s <= age < LIFETIME_S / 2:  # the file of a flock has its own date and no future
                lines.append(
                    f"{path} is held for {age:.0f} s: if no DVC runs in this clone, on any machine, a killed one left "
                    f"it; remove it then: rm {path}"
                )
    return lines


def drop_files_of_flock() -> None:
    """Remove the files of locks by flock that nobody holds: with core.hardlink_lock DVC waits for them for ever."""
    for path in LOCKS:
        with contextlib.suppress(OSError), path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = path.stat()
            if state.st_nlink == 1 and state.st_mtime < time.time():
                path.unlink()


@contextlib.contextmanager
def locked(repo: Any) -> Iterator[None]:
    """Hold the lock of a repository of DVC, which stages that run may hold for seconds. Raises: DVC's LockError."""
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    if repo.config["core"].get("hardlink_lock"):
        drop_files_of_flock()
    until = time.monotonic() + WAIT_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock_repo(repo))
                break
            except LockError:
                if time.monotonic() > until:
                    raise
        yield
