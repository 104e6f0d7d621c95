"""The readable scan: one step of time after another, gradients by autograd. Every other backend must agree with it.

Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", algorithm 2;
discretised as in the authors' `selective_scan_ref`: a = exp(dt A), b = dt B u.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.errors import UserError
from lobes.scan.backend import Backend, Operate
from lobes.scan.inputs import ScanInputs, cast_rows


class ReferenceBackend(Backend):
    """`scan_step_by_step` as a backend: it runs everywhere and takes everything."""

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor | None]:
        """Return y [B, L, D] and the last state [B, D, N] of the scan over `x`."""
        if torch.jit.is_tracing():
            raise UserError("torch.jit.trace would keep the steps of its example; it needs another backend of the scan")
        return scan_step_by_step(x)


def scan_step_by_step(x: ScanInputs) -> tuple[Tensor, Tensor]:
    """Return y [B, L, D] and the last state [B, D, N] of the scan over `x`."""
    x, dt = prepare(x)
    a = torch.exp(dt.unsqueeze(-1) * x.A)  # [B, L, D, N]
    b = (dt * x.u).unsqueeze(-1) * x.B.unsqueeze(2)  # [B, L, D, N]
    h = first_state(x)  # [B, D, N]
    steps = list(zip(a.unbind(1), b.unbind(1), x.C.unbind(1), strict=True))
    outputs = []
    for a_t, b_t, c_t in reversed(steps) if x.reverse else steps:
        h = a_t * h + b_t
        outputs.append((h * c_t.unsqueeze(1)).sum(-1))  # no matmul: autocast would lower it in the backward pass
    outputs = outputs[::-1] if x.reverse else outputs
    y = torch.stack(outputs, dim=1) if outputs else x.u  # [B, L, D]
    return finish(y, x), h


def prepare(x: ScanInputs) -> tuple[ScanInputs, Tensor]:
    """Silence the padding and return the inputs in the compute dtype with the step sizes dt [B, L, D].

    A padded step gets dt = 0, so the state passes through it unchanged: the last state is the one at the true
    end, and a reverse scan reaches the true end with its initial state. `masked_fill` also makes the
    padding's gradients exactly zero, whatever it holds.
    """
    x = cast_rows(x)
    padding = x.padding()
    if padding is not None:
        x = x._replace(
            u=x.u.masked_fill(padding, 0),
            delta=x.delta.masked_fill(padding, 0),
            B=x.B.masked_fill(padding, 0),
            C=x.C.masked_fill(padding, 0),
            z=None if x.z is None else x.z.masked_fill(padding, 0),
        )
    dt = x.delta if x.delta_bias is None else x.delta + x.delta_bias
    dt = F.softplus(dt) if x.delta_softplus else dt
    return x, dt if padding is None else dt.masked_fill(padding, 0)


def first_state(x: ScanInputs) -> Tensor:
    """The state before the first step, [B, D, N]."""
    if x.initial_state is not None:
        return x.initial_state
    return x.u.new_zeros(x.u.shape[0], *x.A.shape)


def finish(y: Tensor, x: ScanInputs) -> Tensor:
    """Add the skip D u and apply the gate silu(z). `x` has its padding silenced, so padded outputs stay zero."""
    y = y if x.D is None else y + x.D * x.u
    y = y if x.z is None else y * F.silu(x.z)
    padding = x.padding()
    # A NaN parameter must not reach the padding either.
    return y if padding is None else y.masked_fill(padding, 0)
