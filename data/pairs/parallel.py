"""The same function over many items on all cores, in order, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def threaded(function: Callable[[Item], Result], items: Sequence[Item], *, title: str, unit: str) -> Iterator[Result]:
    """Yield function(item) for every item, in order. Threads, since decoding and encoding let go of Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from tqdm(pool.map(function, items), total=len(items), desc=title, unit=unit, mininterval=5)
