"""Kernels of Mamba's authors as a backend, wherever they come from.

Such a kernel knows no lengths and no direction, so padded steps get dt = 0 (the state passes through them) and a
reverse scan is flipped; it has no initial state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lobes.scan.backend import Backend, Operate
from lobes.scan.cuda.probe import failure
from lobes.scan.inputs import Facts, ScanInputs, cast_rows
from lobes.scan.reference import prepare
from lobes.scan.trial import by_autograd

MOST_STATES = 256  # the kernel's limit on N


class BridgeBackend(Backend):
    """A function `selective_scan_fn` as a backend. It is looked for once, and a small scan by it once compared."""

    name: str

    def load(self) -> Callable[..., Any]:
        """Import the function; any exception is a reason why there is none."""
        raise NotImplementedError

    def unavailable(self) -> str | None:
        """The reason for which this backend cannot run on this machine; None if it can."""
        return self._kernel if isinstance(self._kernel, str) else self._failure

    def refuses(self, x: Facts) -> str | None:
        """The reason for which this backend cannot take these inputs; None if it can."""
        if x.device != "cuda":
            return f"{self.name} runs on CUDA tensors, and u is on {x.device}"
        if x.dtype != torch.float32:
            return f"{self.name} computes in float32, and u is {x.dtype}"
        if x.states > MOST_STATES:
            return f"{self.name} takes at most {MOST_STATES} states, and A has {x.states}"
        if x.started:
            return f"{self.name} takes no initial_state"
        if x.wants_last and x.needs_grad:
            return (
                f"{self.name} would silently drop the gradient of the last state (it gives one under torch.no_grad())"
            )
        return None

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor | None]:
        """Return y [B, L, D] and the last state [B, D, N] of the scan over `x`."""
        return self._scan(x)

    def _scan(self, x: ScanInputs) -> tuple[Tensor, Tensor]:
        assert not isinstance(self._kernel, str), self._kernel
        x = cast_rows(x)
        padding = x.padding()
        if padding is not None:
            x, dt = prepare(x)
            x = x._replace(delta=dt, delta_bias=None, delta_softplus=False)

        def turned(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            return (tensor.flip(1) if x.reverse else tensor).transpose(1, 2).contiguous()  # [B, D or N, L]

        u, delta, B, C, z = map(turned, (x.u, x.delta, x.B, x.C, x.z))
        options = {"delta_bias": x.delta_bias, "delta_softplus": x.delta_softplus, "return_last_state": True}
        y, last_state = self._kernel(u, delta, x.A.contiguous(), B, C, D=x.D, z=z, **options)
        y = y.transpose(1, 2)  # [B, L, D]
        y = y.flip(1) if x.reverse else y
        return (y if padding is None else y.masked_fill(padding, 0)), last_state

    @cached_property
    def _kernel(self) -> Callable[..., Any] | str:
        """The function, or the reason why there is none."""
        try:
            return self.load()
        except Exception as error:  # not installed, another torch's ABI, no driver, no network, a missing dependency...
            return f"its CUDA kernel cannot be imported ({type(error).__name__}: {error})"

    @cached_property
    def _failure(self) -> str | None:
        return failure(self.name, lambda device: by_autograd(self._scan, device, started=False), started=False)
