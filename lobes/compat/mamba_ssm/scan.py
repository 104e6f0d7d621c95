"""The selective scan by the signature of mamba_ssm. B batch, L steps, D channels, N state, G groups."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lobes.compat.mamba_ssm.rows import scan_rows
from lobes.kernels.memory import dense


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Any:
    """Scan as `mamba_ssm.ops.selective_scan_interface.selective_scan_fn`, by the fastest backend of `lobes.scan`.

    Arguments
    ---------
    u, delta : Tensor
        Input and step sizes, [B, D, L].
    A : Tensor
        Decay rates, real, [D, N].
    B, C : Tensor
        Input and output maps: [B, N, L]; [B, G, N, L] for G groups of D / G channels each; or constant, [D, N].
    D : Tensor, optional
        Skip connection, [D].
    z : Tensor, optional
        Multiplies the output through SiLU, [B, D, L].
    delta_bias : Tensor, optional
        Added to `delta`, [D].
    delta_softplus : bool
        Pass delta + delta_bias through softplus.
    return_last_state : bool
        Also return the state after the last step.

    Returns
    -------
    out : Tensor
        [B, D, L] in the dtype of `u`, a view of [B, L, D]. Alone, if not `return_last_state`.
    last_state : Tensor
        [B, D, N] in float32 (float64 for float64). It has a gradient, which mamba_ssm's kernel drops.

    Raises
    ------
    UserError
        If A, B or C is complex.
    ValueError
        If a shape does not fit.

    Example
    -------
    >>> import torch
    >>> u, delta = torch.rand(2, 2, 8, 10).unbind()
    >>> B, C = torch.rand(2, 2, 2, 4, 10).unbind()
    >>> selective_scan_fn(u, delta, -torch.rand(8, 4), B, C).shape
    torch.Size([2, 8, 10])
    """
    return _scan("auto", u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)


def selective_scan_ref(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Any:
    """Scan as `selective_scan_fn`, by the readable loop over time: what everything else is compared with.

    The arguments and results are those of `selective_scan_fn`.

    Example
    -------
    >>> import torch
    >>> u, B = torch.ones(1, 1, 3), torch.ones(1, 1, 3)
    >>> selective_scan_ref(u, u, torch.zeros(1, 1), B, B)
    tensor([[[1., 2., 3.]]])
    """
    return _scan("reference", u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)


def _scan(
    backend: str,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    want_last: bool,
) -> Any:
    u, delta, z = (None if x is None else dense(x.transpose(1, 2)) for x in (u, delta, z))  # type: ignore[assignment]
    how = {"delta_softplus": delta_softplus, "return_last_state": want_last, "backend": backend}
    y, last = scan_rows(u, delta, A, B, C, D, z, delta_bias, **how)
    y = y.transpose(1, 2)  # [B, D, L]
    return (y, last) if want_last else y
