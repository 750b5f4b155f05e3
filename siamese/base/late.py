"""Loss terms that are read one step late."""

from collections.abc import Callable

import torch
from torch import Tensor


class LateReader:
    """Reads loss terms one step late, so that the host never waits for the step that the device has just been given."""

    def __init__(self, read: Callable[[int, list[float]], None]) -> None:
        self._read, self._step, self._terms = read, 0, None
        self._there: torch.cuda.Event | None = None

    def put(self, step: int, terms: Tensor) -> None:
        """Read the terms of the step before, and start to fetch these."""
        self.flush()
        self._step, self._terms = step, terms
        if terms.device.type == "cuda":
            self._terms = torch.empty(terms.shape, dtype=terms.dtype, pin_memory=True).copy_(terms, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def flush(self) -> None:
        """Read what has not been read yet."""
        terms, self._terms = self._terms, None
        if terms is None:
            return
        if self._there:
            self._there.synchronize()
        self._read(self._step, terms.tolist())
