"""DVC's locks by hard link (core.hardlink_lock), which a DVC that is killed while it holds one leaves for good."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(".dvc/tmp")
WAIT_S = 60
LIFETIME_S = 365 * 24 * 3600  # such a lock is dated by when it ends


def held_locks(older_than_s: float = 0) -> list[str]:
    """Return a line for each lock that was taken so many seconds ago, with what frees it. flock leaves none behind."""
    lines = []
    for path in (FOLDER / "lock", FOLDER / "rwlock.lock"):
        try:
            age = time.time() - (path.stat().st_mtime - LIFETIME_S)
        except FileNotFoundError:
            continue
        if older_than_s <= age < LIFETIME_S / 2:  # the file of a flock has its own date and no future
            lines.append(
                f"{path} is held for {age:.0f} s: if no DVC runs in this clone, on any machine, a killed one left it; "
                f"remove it then: rm {path}"
            )
    return lines


@contextlib.contextmanager
def locked(repo: Any) -> Iterator[None]:
    """Hold the lock of a repository of DVC, which stages that run may hold for seconds. Raises: DVC's LockError."""
    from dvc.lock import LockError
    from dvc.repo import lock_repo

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
