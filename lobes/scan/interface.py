"""The public function `selective_scan`: checks, precision, and the call of a backend."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lobes.scan.inputs import ScanInputs, cast, check, facts
from lobes.scan.low_rank import as_taken_by
from lobes.scan.operator import operate
from lobes.scan.registry import BACKENDS, choose

_AS_IT_IS = contextlib.nullcontext()


# The result's type depends on `return_last_state`. It is `Any`, as overloads would repeat all 15 arguments twice.
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_weight: Tensor | None = None,
    delta_softplus: bool = False,
    reverse: bool = False,
    lengths: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_last_state: bool = False,
    backend: str = "auto",
) -> Any:
    """Scan a diagonal state-space model whose step size, input and output maps change with time (Mamba-1).

    With dt = delta + delta_bias (through softplus if asked), every channel keeps N states:

        h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] u[t]
        y[t] = (<C[t], h[t]> + D u[t]) silu(z[t])

    The state is kept in float32 (float64 for a float64 `u`) also under autocast and for half-precision inputs.

    Arguments
    ---------
    u : Tensor
        Input, [B, L, D] (batch, steps, channels).
    delta : Tensor
        Step sizes before bias and softplus, [B, L, D].
    A : Tensor
        Decay rates, negative for a stable scan, [D, N].
    B, C : Tensor
        Input and output maps of each step, [B, L, N].
    D : Tensor, optional
        Skip connection, [D].
    z : Tensor, optional
        Gate, [B, L, D].
    delta_bias : Tensor, optional
        Added to `delta`, [D].
    delta_weight : Tensor, optional
        [D, R]. `delta` is then of low rank, [B, L, R], and delta delta_weight^T takes its place. Without gradients the
        CPU kernels multiply as they read, so that the product never lies in memory.
    delta_softplus : bool
        Pass delta + delta_bias through softplus.
    reverse : bool
        Run from the true end of each item to its start.
    lengths : Tensor, optional
        Valid steps of each item, integers [B] in 0..L. Outputs and gradients past them are exactly zero,
        whatever the padding holds. None: all items are full.
    initial_state : Tensor, optional
        State before the first step that is run, [B, D, N]. None: zeros.
    return_last_state : bool
        Also return the state after the last step that was run.
    backend : str
        "auto", or a name from `backends()`. A named backend is used or fails; it never falls back. With
        "auto" the environment variable LOBES_SCAN_BACKEND may name one.

    Returns
    -------
    y : Tensor
        [B, L, D] in the dtype of `u`. Alone, if `return_last_state` is False.
    last_state : Tensor
        [B, D, N] in float32 (or float64). With `return_last_state` the result is the pair (y, last_state).

    Raises
    ------
    ValueError, TypeError
        A tensor's shape, device or dtype does not fit.
    UserError
        The named backend is unknown, not available, or cannot take these inputs.

    Example
    -------
    >>> u, delta = torch.randn(2, 2, 10, 8).unbind()
    >>> B, C = torch.randn(2, 2, 10, 4).unbind()
    >>> A = -torch.rand(8, 4)
    >>> y, last = selective_scan(u, delta, A, B, C, delta_softplus=True, return_last_state=True, backend="torch")
    >>> y.shape, last.shape
    (torch.Size([2, 10, 8]), torch.Size([2, 8, 4]))

    Source: Gu and Dao, "Mamba", arXiv:2312.00752, algorithm 2.
    """
    x = ScanInputs(u, delta, A, B, C, D, z, delta_bias, initial_state, lengths, delta_softplus, reverse, delta_weight)
    check(x)
    device = u.device.type
    off = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else _AS_IT_IS
    with off:
        x = cast(x)
        name = choose(backend, *facts(x, return_last_state))
        x = as_taken_by(BACKENDS[name], x)
        y, last_state = BACKENDS[name].scan(x, return_last_state, partial(operate, name))
    y = y if y.dtype == u.dtype else y.to(u.dtype)
    return (y, last_state) if return_last_state else y
