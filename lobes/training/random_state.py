"""The random number generators in a checkpoint: a resumed run draws what the undisturbed one would have drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


def generators() -> dict[str, Any]:
    """The states of the global generators of torch (CPU and all GPUs), numpy and Python.

    Example
    -------
    >>> before = generators()
    >>> drawn = (torch.rand(1).item(), np.random.rand(), random.random())
    >>> set_generators(before)
    >>> drawn == (torch.rand(1).item(), np.random.rand(), random.random())
    True
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if used else [],
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "python": list(random.getstate()),
    }


def set_generators(states: Mapping[str, Any]) -> None:
    """Set the global generators; states of GPUs that are not here are left out."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, device)
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))


class RandomState:
    """The generators of all ranks as a recoverable: gathered before a checkpoint, set when the loop of an epoch begins.

    Not before that: the iterator of a data loader draws a number when it is made. That of an epoch in whose middle the
    checkpoint was written had done so already; that of a whole new epoch had not.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> state = RandomState()
    >>> state.gather()
    >>> drawn = torch.rand(1)
    >>> with TemporaryDirectory() as folder:
    ...     state.save(Path(folder, "random.ckpt"))
    ...     state.load(Path(folder, "random.ckpt"), end_of_epoch=False)
    >>> for batch in state.resuming([1]):
    ...     print(bool(torch.rand(1) == drawn))
    True
    """

    def __init__(self) -> None:
        self._of_ranks: list[dict[str, Any]] = []
        self._pending: tuple[dict[str, Any], bool] | None = None  # with: whether a whole epoch comes next

    def gather(self) -> None:
        """Take the states of all ranks, which must all call this, for the checkpoint that is written next."""
        self._of_ranks = [generators()]
        if dist.is_available() and dist.is_initialized():
            own, self._of_ranks = self._of_ranks[0], [{}] * dist.get_world_size()
            dist.all_gather_object(self._of_ranks, own)

    def save(self, path: Path) -> None:
        """Write what was gathered."""
        torch.save(self._of_ranks, path)

    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Read this rank's states, to be set later; with more ranks than before, new ones take those of others."""
        of_ranks = torch.load(path, weights_only=True, map_location="cpu")
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        self._pending = (of_ranks[rank % len(of_ranks)], end_of_epoch) if of_ranks else None

    def resuming(self, loader: Any) -> Any:
        """The loader, whose next iterator sets what was loaded; itself when nothing was."""
        return loader if self._pending is None else _Resuming(loader, self)

    def _set(self, end_of_epoch: bool) -> None:
        if self._pending is not None and self._pending[1] is end_of_epoch:
            set_generators(self._pending[0])
            self._pending = None


class _Resuming:
    """A data loader between two settings of the generators."""

    def __init__(self, loader: Any, state: RandomState) -> None:
        self.loader, self.state = loader, state

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.state._set(end_of_epoch=True)
        iterator = iter(self.loader)
        self.state._set(end_of_epoch=False)
        return iterator
