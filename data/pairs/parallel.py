"""The same function over many items on all cores, in order, with a progress bar."""

import os
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
