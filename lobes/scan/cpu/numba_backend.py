"""The scan compiled by numba as a backend: the choice of the engine, its first compilation, autograd.

Two engines give the same: `vector_engine`, in vectors of its own, and `plain_engine`, which is plain numba. The first
needs parts of numba that may change from release to release. So it has to prove itself on a small scan at first use;
where it fails, the second steps in, and says so. float32 on the CPU only; float64 inputs go to the `torch` backend.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lobes.scan import reference
from lobes.scan.inputs import Facts, ScanInputs, cast_rows
from lobes.scan.operator import operate

logger = logging.getLogger(__name__)

VECTOR, PLAIN = "lobes.scan.cpu.vector_engine", "lobes.scan.cpu.plain_engine"
AGREEMENT = 1e-5  # largest error that an engine may have in its proof, as a share of the largest value


def unavailable() -> str | None:
    """Why this backend cannot run here; None when it can."""
    return _probe()


@cache
def _probe() -> str | None:
    try:
        _engine()
    except Exception as error:  # a broken numba raises more than ImportError
        return f"numba cannot be used ({type(error).__name__}: {error})"
    return None


def refuses(x: Facts) -> str | None:
    """Why this backend cannot take these inputs; None when it can."""
    if x.device != "cpu":
        return f"numba runs on CPU tensors, and u is on {x.device}"
    if x.dtype != torch.float32:
        return f"numba computes in float32, and u is {x.dtype}"
    return None


def scan(x: ScanInputs, want_last: bool) -> tuple[Tensor, Tensor]:
    """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x`."""
    return operate(x, "numba", want_last)


def forward(x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the last state if wanted and, if a backward pass may follow, the states before every chunk.

    Half-precision rows get float32 copies that live no longer than the call: a graph keeps the rows themselves.
    """
    engine = _engine()
    y, last, saved = engine.forward(engine.Problem(cast_rows(x)), save, want_last)
    return y.to(x.u.dtype), last, saved


def backward(x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B, C, D, z, delta_bias and initial_state; of what is absent, nothing."""
    engine = _engine()
    given = (x.u, x.delta, x.A, x.B, x.C, x.D, x.z, x.delta_bias, x.initial_state)
    gradients = engine.backward(engine.Problem(cast_rows(x)), saved, gy.to(x.A.dtype), glast)
    pairs = zip(given, gradients, strict=True)
    return tuple(gy.new_empty(0) if tensor is None else gradient.to(tensor.dtype) for tensor, gradient in pairs)


def saved_like(x: ScanInputs) -> Tensor:
    """An empty tensor of the shape of what `forward` saves."""
    return _engine().saved_like(x)


def has_vectors() -> bool:
    """Whether vector kernels work here."""
    return unavailable() is None and _engine().__name__ == VECTOR


@cache
def _engine() -> ModuleType:
    """The faster engine that works here."""
    try:
        return _proven(VECTOR)
    except Exception as error:  # numba's inner parts may have changed in any way
        plain = _proven(PLAIN)
        logger.warning("The scan's vector kernels do not work here (%s): plain kernels, half as fast, run.", error)
        return plain


def _proven(name: str) -> ModuleType:
    """Import an engine, with its kernels cached on disk, and compare a small scan of it with the reference."""
    engine = importlib.import_module(name)
    keep_compiled(engine.KERNELS, engine.SOURCES)
    # A new thread has none of the caller's modes: no inference mode, and no hooks of a checkpoint that would count
    # what the proof saves as the caller's own.
    with ThreadPoolExecutor(1) as apart:
        results = apart.submit(lambda: (_small_scan(engine), _small_scan(None))).result()
    for got, truth in zip(*results, strict=True):
        error = float((got - truth).abs().max() / truth.abs().max())
        if not error <= AGREEMENT:
            raise ValueError(f"a small scan of {name} is off by {error:.1e}")
    return engine


def _small_scan(engine: ModuleType | None) -> list[Tensor]:
    """y, last state and all gradients of a scan with a gap in every vector; by the reference if there is no engine."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 18, 35), (2, 18, 35), (35, 3), (2, 18, 3), (2, 18, 3), (35,), (2, 18, 35), (35,), (2, 35, 3)]
    shapes += [(2, 18, 35), (2, 35, 3)]
    numbers = [torch.randn(shape, generator=generator, dtype=torch.float32) for shape in shapes]
    u, delta, A, B, C, D, z, bias, first, gy, glast = numbers
    lengths = torch.tensor([18, 16])
    leaves = [u, delta, -A.abs(), B, C, D, z, bias]
    x = ScanInputs._make([*leaves, True, True, lengths, first])
    if engine is not None:
        y, last, saved = engine.forward(engine.Problem(x), True, True)
        return [y, last, *engine.backward(engine.Problem(x), saved, gy, glast)]
    leaves = [tensor.requires_grad_() for tensor in (*leaves, first)]
    y, state = reference.scan(x, True)
    assert state is not None
    return [y.detach(), state.detach(), *torch.autograd.grad((y, state), leaves, (gy, glast))]


def keep_compiled(kernels: tuple[Any, ...], sources: tuple[ModuleType, ...]) -> None:
    """Let numba keep the compiled kernels on disk, and say when it really compiles."""
    event = importlib.import_module("numba.core.event")
    try:
        for kernel in kernels:
            kernel.enable_caching()
            # numba looks only at the file of the kernel itself; a change of any of them must compile it anew
            kernel._cache._cache_file._source_stamp = _digest(sources)
    except RuntimeError as error:
        logger.warning(
            "The compiled CPU scan cannot be kept (%s): every process will compile it anew. "
            "Set NUMBA_CACHE_DIR to a writable folder.",
            error,
        )
    event.register("numba:compile", _announcer(event, kernels))


def _digest(sources: tuple[ModuleType, ...]) -> str:
    """A hash of the modules' files."""
    text = b"".join(Path(str(source.__file__)).read_bytes() for source in sources)
    return hashlib.sha256(text).hexdigest()


def _announcer(event: Any, kernels: tuple[Any, ...]) -> Any:
    """A listener that says when a kernel is really compiled, not loaded from the cache."""

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
