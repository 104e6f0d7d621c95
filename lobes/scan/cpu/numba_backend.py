"""The scan compiled by numba as a backend: the choice of an engine and its first compilation.

Two engines compute the same. `vector_engine` works in vectors of its own and needs parts of numba that may change from
release to release; `plain_engine` is plain numba and slower. At first use the vector engine runs a small scan
that is compared with the reference; if it fails, the plain engine runs instead, and a warning says so. Both compute in
float32 on the CPU; float64 inputs go to the `torch` backend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from lobes.kernels.compiled import check_small_call, keep_compiled
from lobes.scan.backend import Backend, Operate
from lobes.scan.inputs import Facts, ScanInputs, cast_rows
from lobes.scan.reference import scan_step_by_step

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """A module that scans with compiled kernels. Its inputs are float32 throughout; otherwise see `Passes`."""

    @property
    def __name__(self) -> str: ...

    @property
    def KERNELS(self) -> tuple[Any, ...]:
        """The compiled functions."""
        ...

    @property
    def SOURCES(self) -> tuple[ModuleType, ...]:
        """The modules that they are compiled from."""
        ...

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y [B, L, D], the last state if wanted, and the states before every chunk if to be saved."""
        ...

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return nine gradients; those of absent tensors may hold anything."""
        ...

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of the saved states."""
        ...


def import_vector_engine() -> Engine:
    """Import the engine of explicit vectors, and numba with it."""
    from lobes.scan.cpu import vector_engine

    return vector_engine


def import_plain_engine() -> Engine:
    """Import the engine of plain numba, and numba with it."""
    from lobes.scan.cpu import plain_engine

    return plain_engine


class NumbaBackend(Backend):
    """The compiled CPU scan. The engine is found at first use and remembered.

    Arguments
    ---------
    fast, plain : callable
        Import an engine; `plain` is asked if `fast` fails.

    Example
    -------
    >>> NumbaBackend().engine.__name__
    'lobes.scan.cpu.vector_engine'
    """

    def __init__(
        self, fast: Callable[[], Engine] = import_vector_engine, plain: Callable[[], Engine] = import_plain_engine
    ) -> None:
        self._fast, self._plain = fast, plain

    def unavailable(self) -> str | None:
        """Why this backend cannot run on this machine; None if it can."""
        return self._missing

    @cached_property
    def _missing(self) -> str | None:
        try:
            _ = self.engine
        except Exception as error:  # a broken numba raises more than ImportError
            return f"numba cannot be used ({type(error).__name__}: {error})"
        return None

    def refuses(self, x: Facts) -> str | None:
        """Why this backend cannot take these inputs; None if it can."""
        if x.device != "cpu":
            return f"numba runs on CPU tensors, and u is on {x.device}"
        if x.dtype != torch.float32:
            return f"numba computes in float32, and u is {x.dtype}"
        return None

    @cached_property
    def engine(self) -> Engine:
        """The faster engine that works here."""
        try:
            return _proven(self._fast())
        except Exception as error:  # numba's inner parts may have changed in any way
            plain = _proven(self._plain())
            logger.warning(
                "The scan's vector kernels do not work here (%s): plain kernels, which are slower, run.", error
            )
            return plain

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor]:
        """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x`."""
        return operate(x, want_last)

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, the last state if wanted and, if a backward pass may follow, the states before every chunk.

        Half-precision rows get float32 copies that live no longer than the call: a graph keeps the rows themselves.
        """
        y, last, saved = self.engine.forward(cast_rows(x), save, want_last)
        return y.to(x.u.dtype), last, saved

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradients of the nine tensors of `x.differentiable()`; empty tensors for those that are absent."""
        gradients = self.engine.backward(cast_rows(x), saved, gy.to(x.A.dtype), glast)
        pairs = zip(x.differentiable(), gradients, strict=True)
        return tuple(gy.new_empty(0) if tensor is None else gradient.to(tensor.dtype) for tensor, gradient in pairs)

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of what `forward` saves."""
        return self.engine.saved_like(x)


def _proven(engine: Engine) -> Engine:
    """Keep an engine's kernels on disk and compare a small scan of it with the reference."""
    keep_compiled(engine.KERNELS, engine.SOURCES)
    check_small_call(engine.__name__, lambda: _small_scan(engine), lambda: _small_scan(None))
    return engine


def _small_scan(engine: Engine | None) -> list[Tensor]:
    """y, last state and all gradients of a scan with a gap in every vector; by the reference if there is no engine."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 18, 35), (2, 18, 35), (35, 3), (2, 18, 3), (2, 18, 3), (35,), (2, 18, 35), (35,), (2, 35, 3)]
    shapes += [(2, 18, 35), (2, 35, 3)]
    numbers = [torch.randn(shape, generator=generator, dtype=torch.float32) for shape in shapes]
    u, delta, A, B, C, D, z, bias, first, gy, glast = numbers
    x = ScanInputs(u, delta, -A.abs(), B, C, D, z, bias, first, torch.tensor([18, 16]), True, True)
    if engine is not None:
        y, last, saved = engine.forward(x, True, True)
        return [y, last, *engine.backward(x, saved, gy, glast)]
    leaves = [tensor.requires_grad_() for tensor in x.differentiable() if tensor is not None]
    y, last = scan_step_by_step(x)
    return [y.detach(), last.detach(), *torch.autograd.grad((y, last), leaves, (gy, glast))]
