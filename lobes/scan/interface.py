"""The public function `selective_scan`: checks, precision, choice of backend."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any, Literal, overload

import torch
from torch import Tensor

from lobes.errors import UserError, did_you_mean
from lobes.scan import reference, torch_blocked
from lobes.scan.cpu import numba_backend
from lobes.scan.cuda import mamba_ssm_backend, triton_backend
from lobes.scan.inputs import Facts, ScanInputs, cast, check, facts

logger = logging.getLogger(__name__)

ENVIRONMENT = "LOBES_SCAN_BACKEND"
_MODULES = {
    "reference": reference,
    "torch": torch_blocked,
    "numba": numba_backend,
    "triton": triton_backend,
    "mamba_ssm": mamba_ssm_backend,
}
_FASTEST = {"cpu": ("numba",), "cuda": ("mamba_ssm", "triton")}  # by device, best first; `torch` runs everywhere


@overload
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
    delta_softplus: bool = False,
    reverse: bool = False,
    lengths: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_last_state: Literal[False] = False,
    backend: str = "auto",
) -> Tensor: ...


@overload
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
    delta_softplus: bool = False,
    reverse: bool = False,
    lengths: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_last_state: Literal[True],
    backend: str = "auto",
) -> tuple[Tensor, Tensor]: ...


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
    delta_softplus: bool = False,
    reverse: bool = False,
    lengths: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_last_state: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
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
        [B, L, D] in the dtype of `u`.
    last_state : Tensor
        [B, D, N] in float32 (or float64), only with `return_last_state`.

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
    x = ScanInputs(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse, lengths, initial_state)
    check(x)
    with torch.autocast(device_type=u.device.type, enabled=False):
        x = cast(x)
        y, last_state = _MODULES[_choose(backend, *facts(x, return_last_state))].scan(x, return_last_state)
    y = y.to(u.dtype)
    return (y, last_state) if return_last_state else y


def backends() -> dict[str, str]:
    """Say for each backend whether it can run here.

    Returns
    -------
    status : dict
        Backend name -> "available" or the reason why not.

    Example
    -------
    >>> backends()["torch"]
    'available'
    """
    return {name: _MODULES[name].unavailable() or "available" for name in _MODULES}


@torch.compiler.assume_constant_result
def _choose(asked: str, *description: Any) -> str:
    """The backend's name: what the caller or the environment asked for, else the fastest that takes these inputs.

    `description` are the fields of `Facts`, apart: torch.compile calls this once, while it traces.
    """
    x = Facts(*description)
    source = f"backend={asked!r}"
    if asked == "auto":
        asked = os.environ.get(ENVIRONMENT, "") or "auto"
        source = f"{ENVIRONMENT}={asked}"
    if asked == "auto":
        return _fastest(x)
    if asked not in _MODULES:
        raise UserError(
            f"selective_scan: {source} is not a backend; expected auto, {', '.join(_MODULES)}."
            f"{did_you_mean(asked, _MODULES)}"
        )
    reason = _why_not(asked, x)
    if reason is not None:
        raise UserError(f"selective_scan: {source} cannot run: {reason}. Choose another backend or 'auto'.")
    _log_choice(asked, x.device, source)
    return asked


def _fastest(x: Facts) -> str:
    reasons = []
    for name in _FASTEST.get(x.device, ()):
        reason = _why_not(name, x)
        if reason is None:
            break
        reasons.append(f"not {name}: {reason}")
    else:
        name = "torch"
    _log_choice(name, x.device, "; ".join(["auto", *reasons]))
    return name


def _why_not(name: str, x: Facts) -> str | None:
    return _MODULES[name].unavailable() or _MODULES[name].refuses(x)


@cache
def _log_choice(name: str, device: str, why: str) -> None:
    """Say once for each device and reason which backend runs."""
    logger.info("selective scan on %s: backend %s (%s)", device, name, why)
