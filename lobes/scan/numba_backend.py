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
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lobes.scan import reference
from lobes.scan.inputs import ScanInputs

logger = logging.getLogger(__name__)

VECTOR, PLAIN = "lobes.scan.vector_engine", "lobes.scan.plain_engine"
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


def refuses(x: ScanInputs, want_last_state: bool) -> str | None:
    """Why this backend cannot take these inputs; None when it can."""
    if x.u.device.type != "cpu":
        return f"numba runs on CPU tensors, and u is on {x.u.device}"
    if x.u.dtype != torch.float32:
        return f"numba computes in float32, and u is {x.u.dtype}"
    return None


def scan(x: ScanInputs, want_last_state: bool) -> tuple[Tensor, Tensor | None]:
    """Return y [B, L, D] and the last state [B, D, N] of the scan over `x`."""
    flags = (x.reverse, x.delta_softplus)
    return _NumbaScan.apply(
        x.u, x.delta, x.A, x.B, x.C, x.D, x.z, x.delta_bias, x.initial_state, x.lengths, flags, x.needs_grad()
    )


class _NumbaScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        *tensors, flags, save = args
        engine = _engine()
        y, last, saved = engine.forward(engine.Problem(tensors, *flags), save)
        ctx.save_for_backward(*tensors, saved)
        ctx.flags = flags
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, glast: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, saved = ctx.saved_tensors
        engine = _engine()
        gradients = engine.backward(engine.Problem(tensors, *ctx.flags), saved, gy, glast)
        present = [None if tensor is None else grad for tensor, grad in zip(tensors, gradients, strict=False)]
        return *present, None, None, None


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
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has set
        pairs = list(zip(_small_scan(engine), _small_scan(None), strict=True))
    for got, truth in pairs:
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
    tensors = [u, delta, -A.abs(), B, C, D, z, bias, first]
    lengths = torch.tensor([18, 16])
    if engine is not None:
        problem = engine.Problem([*tensors, lengths], True, True)
        y, last, saved = engine.forward(problem, True)
        return [y, last, *engine.backward(problem, saved, gy, glast)]
    leaves = [tensor.requires_grad_() for tensor in tensors]
    y, state = reference.scan(ScanInputs._make([*leaves[:8], True, True, lengths, leaves[8]]), True)
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
                    "Compiling %s for this machine: once, about 4 s; kept in %s",
                    f"{dispatcher.__module__}.{dispatcher.__name__}",
                    dispatcher.stats.cache_path or "memory only",
                )

        def on_end(self, what: Any) -> None:
            if what.data["dispatcher"] in kernels:
                logger.info("Compiled in %.1f s", time.perf_counter() - self.started)

    return Announcer()
