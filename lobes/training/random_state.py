"""The random number generators in a checkpoint: a resumed run draws what the undisturbed one would have drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from lobes.training.ranks import number_of_ranks, rank_here


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


def seed_rank(seed: int, rank: int) -> None:
    """Seed the global generators of one of several ranks; the first one keeps its own.

    A recipe seeds all ranks alike, so that they begin with the same weights. From there on they must not draw the same
    numbers: with equal dropout masks eight ranks would see one mask.

    Example
    -------
    >>> drawn = []
    >>> for rank in (1, 2, 1):
    ...     seed_rank(1234, rank)
    ...     drawn.append(torch.rand(1).item())
    >>> drawn[0] == drawn[2] != drawn[1]
    True
    """
    if rank:
        own = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
        torch.manual_seed(own)
        np.random.seed(own)
        random.seed(own)


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
        if number_of_ranks() > 1:
            own, self._of_ranks = self._of_ranks[0], [{}] * number_of_ranks()
            dist.all_gather_object(self._of_ranks, own)

    def save(self, path: Path) -> None:
        """Write what was gathered."""
        torch.save(self._of_ranks, path)

    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Read this rank's states, to be set later; a rank that was not there before keeps its own."""
        of_ranks = torch.load(path, weights_only=True, map_location="cpu")
        rank = rank_here()
        self._pending = (of_ranks[rank], end_of_epoch) if rank < len(of_ranks) else None

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
