"""The scan in Triton kernels as a backend: CUDA tensors of any floating type but float64, no compiler to install.

The kernels compile at first use, for the device at hand. Under TRITON_INTERPRET=1, set before the first import,
they run on the CPU, step by step in Python: slow, and good for tests.
"""

from __future__ import annotations

import os
from functools import cached_property

import torch
from torch import Tensor

from lobes.scan.backend import Backend, Operate
from lobes.scan.cuda import passes
from lobes.scan.cuda.launch import kernels
from lobes.scan.cuda.plan import saved_shape
from lobes.scan.cuda.probe import failure
from lobes.scan.inputs import Facts, ScanInputs
from lobes.scan.trial import by_passes


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python, on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class TritonBackend(Backend):
    """`passes` as a backend. It looks for Triton, and tries a small scan, once."""

    def unavailable(self) -> str | None:
        """The reason for which this backend cannot run on this machine; None if it can."""
        return self._problem

    @cached_property
    def _problem(self) -> str | None:
        if not (torch.cuda.is_available() or interpreted()):
            return "there is no CUDA device"
        try:
            kernels()
        except Exception as error:  # not installed, or not for this platform
            return f"triton cannot be imported ({type(error).__name__}: {error})"
        return None if interpreted() else failure("triton", lambda device: by_passes(self, device), started=True)

    def refuses(self, x: Facts) -> str | None:
        """The reason for which this backend cannot take these inputs; None if it can."""
        if x.device != "cuda" and not interpreted():
            return f"triton runs on CUDA tensors, and u is on {x.device}"
        if x.dtype != torch.float32:
            return f"triton computes in float32, and u is {x.dtype}"
        return None

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor]:
        """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x`."""
        return operate(x, want_last)

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, the last state and, if a backward pass may follow, the states before every chunk."""
        return passes.forward(x, save, want_last)

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradients of the nine tensors of `x.differentiable()`; empty tensors for those that are absent."""
        return passes.backward(x, saved, gy, glast)

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of what `forward` saves."""
        return x.A.new_empty(saved_shape(x.u.shape, int(x.A.shape[1])))
