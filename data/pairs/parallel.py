"""The same function over many items on all cores, in order, with a progress bar."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 16  # items a core


def threaded(function: Callable[[Item], Result], items: Sequence[Item], *, title: str, unit: str) -> Iterator[Result]:
    """Yield function(item) for every item, in order. Threads, since decoding and encoding let go of Python's lock.

    Only a few results wait at any time, so that memory does not grow with the number of items.
    """
    cores = len(os.sched_getaffinity(0))
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(cores) as pool, tqdm(total=len(items), desc=title, unit=unit, mininterval=5) as bar:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * cores:
                yield waiting.popleft().result()
                bar.update()
        while waiting:
            yield waiting.popleft().result()
            bar.update()


class Budget:
    """What threads take a share of and give back; one that wants more than there is waits until it has all of it."""

    def __init__(self, total: int) -> None:
        self.total, self.left, self.changed = total, total, threading.Condition()

    @contextlib.contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Hold so much of it for the length of the block, after waiting for it where others hold it."""
        amount = min(amount, self.total)
        with self.changed:
            self.changed.wait_for(lambda: self.left >= amount)
            self.left -= amount
        try:
            yield
        finally:
            with self.changed:
                self.left += amount
                self.changed.notify_all()
