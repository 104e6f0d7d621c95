"""The scan compiled by numba as a backend: float32 on the CPU.

`vector_engine` works in vectors of its own and needs parts of numba that may change from release to release. At first
use it is imported, and a small scan of it is compared with the reference. If either fails, the backend is unavailable:
`auto` takes `torch` instead, with a warning. `lobes.scan.reference` and `lobes.scan.torch_blocked` are the same
computation in readable form.
"""

from __future__ import annotations

import importlib
import textwrap
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from lobes.kernels.compiled import check_small_call, keep_compiled
from lobes.scan.backend import Backend, Operate
from lobes.scan.inputs import Facts, ScanInputs, cast_rows
from lobes.scan.trial import by_autograd, by_passes

ENGINE = "lobes.scan.cpu.vector_engine"


class NumbaBackend(Backend):
    """The compiled CPU scan. Its kernels are imported and checked once."""

    multiplies_step_sizes = True

    def unavailable(self) -> str | None:
        """The reason for which this backend cannot run on this machine, in one line; None if it can."""
        return self._problem

    @cached_property
    def _problem(self) -> str | None:
        try:
            _ = self.engine
        except Exception as error:  # numba may be missing or broken in any way, or its inner parts may have changed
            reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300)  # numba's errors may fill a page
            return f"numba cannot be used ({reason})"
        return None

    @cached_property
    def engine(self) -> ModuleType:
        """The module `vector_engine`, once a small scan of it has agreed with the reference."""
        engine = importlib.import_module(ENGINE)
        keep_compiled(engine.KERNELS, engine.SOURCES)
        check_small_call(ENGINE, lambda: by_passes(engine), by_autograd)
        return engine

    def refuses(self, x: Facts) -> str | None:
        """The reason for which this backend cannot take these inputs; None if it can."""
        if x.device != "cpu":
            return f"numba runs on CPU tensors, and u is on {x.device}"
        if x.dtype != torch.float32:
            return f"numba computes in float32, and u is {x.dtype}"
        return None

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor]:
        """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x`."""
        return operate(x, want_last)

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, the last state if wanted and, if a backward pass may follow, the states before every chunk."""
        y, last, saved = self.engine.forward(readable_rows(x), save, want_last)
        return y.to(x.u.dtype), last, saved

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradients of the nine tensors of `x.differentiable()`; empty tensors for those that are absent."""
        rows = readable_rows(x)
        gradients = self.engine.backward(rows, saved, gy.to(rows.u.dtype), glast)
        pairs = zip(x.differentiable(), gradients, strict=True)
        return tuple(gy.new_empty(0) if tensor is None else gradient.to(tensor.dtype) for tensor, gradient in pairs)

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of what `forward` saves."""
        return self.engine.saved_like(x)


def readable_rows(x: ScanInputs) -> ScanInputs:
    """The inputs themselves if the kernels read their rows: all in float32, or u, delta and z in bfloat16.

    Others get float32 copies that live no longer than the call: a graph keeps the rows themselves.
    """
    if any(tensor is not None and tensor.dtype != torch.bfloat16 for tensor in (x.u, x.delta, x.z)):
        return cast_rows(x)
    half_rows = importlib.import_module("lobes.kernels.half_rows")  # with it comes numba
    return x if half_rows.half_rows_work() else cast_rows(x)
