"""Code that numba compiles at first use: keep it on disk, and compare a small call with slow code before it is used."""

from __future__ import annotations

import hashlib
import importlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)

AGREEMENT = 1e-5  # largest error that compiled code may have in a small call, as a share of the largest value


def check_small_call(
    name: str, fast: Callable[[], list[Tensor]], slow: Callable[[], list[Tensor]], agreement: float = AGREEMENT
) -> None:
    """Raise ValueError if the results of `fast`, which is called `name`, are not those of `slow`.

    Both run in a new thread, which has none of the caller's modes: no inference mode, and no hooks of a checkpoint
    that would count what this comparison saves as the caller's own.

    Example
    -------
    >>> import torch
    >>> check_small_call("exp", lambda: [torch.ones(2).exp()], lambda: [torch.full((2,), 2.7182818)])
    >>> check_small_call("exp2", lambda: [torch.ones(2).exp2()], lambda: [torch.full((2,), 2.7182818)])
    Traceback (most recent call last):
    ValueError: a small call of exp2 is off by 2.6e-01
    """
    with ThreadPoolExecutor(1) as apart:
        errors = apart.submit(lambda: [_error(*pair) for pair in zip(fast(), slow(), strict=True)]).result()
    for error in errors:
        if not error <= agreement:  # a NaN is no agreement
            raise ValueError(f"a small call of {name} is off by {error:.1e}")


def _error(got: Tensor, truth: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((got - truth).abs().max() / truth.abs().max())


def keep_compiled(kernels: tuple[Any, ...], sources: tuple[ModuleType, ...]) -> None:
    """Let numba keep compiled kernels on disk, and log when it really compiles.

    Arguments
    ---------
    kernels : tuple
        Functions decorated by `numba.njit`.
    sources : tuple of module
        Everything that they are compiled from. A change in any of these files compiles them anew; numba itself looks
        only at the file of the kernel.
    """
    event = importlib.import_module("numba.core.event")
    try:
        for kernel in kernels:
            kernel.enable_caching()
            kernel._cache._cache_file._source_stamp = _digest(sources)
    except RuntimeError as error:
        logger.warning(
            "Compiled CPU kernels cannot be kept (%s): every process will compile them anew. "
            "Set NUMBA_CACHE_DIR to a writable folder.",
            error,
        )
    event.register("numba:compile", _announcer(event, kernels))


def _digest(sources: tuple[ModuleType, ...]) -> str:
    """A hash of the modules' files."""
    text = b"".join(Path(str(source.__file__)).read_bytes() for source in sources)
    return hashlib.sha256(text).hexdigest()


def _announcer(event: Any, kernels: tuple[Any, ...]) -> Any:
    """A listener that logs when a kernel is really compiled, not loaded from the cache."""

    class Announcer(event.Listener):
        started = 0.0

        def on_start(self, what: Any) -> None:
            dispatcher = what.data["dispatcher"]
            if dispatcher in kernels:
                self.started = time.perf_counter()
                logger.warning(
                    "Compiling %s for this machine: once, at most about 4 s; kept in %s",
                    f"{dispatcher.__module__}.{dispatcher.__name__}",
                    dispatcher.stats.cache_path or "memory only",
                )

        def on_end(self, what: Any) -> None:
            if what.data["dispatcher"] in kernels:
                logger.info("Compiled in %.1f s", time.perf_counter() - self.started)

    return Announcer()
