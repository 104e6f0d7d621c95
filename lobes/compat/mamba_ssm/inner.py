"""The inner part of a Mamba block by the signature of mamba_ssm: convolution, selection, scan and output projection.

B batch, L steps, D inner channels, N state, R rank of the step sizes, K taps, E outer channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from lobes.compat.mamba_ssm.convolution import causal_conv1d_fn
from lobes.compat.mamba_ssm.rows import scan_rows
from lobes.kernels.memory import dense
from lobes.nnet.precision import at_least_fp32


class InnerWeights(NamedTuple):
    """What the inner part needs besides its rows, by the names of mamba_ssm."""

    conv1d_weight: Tensor  # [D, 1, K]
    conv1d_bias: Tensor | None  # [D]
    x_proj_weight: Tensor  # [R + 2 N, D]; fewer rows where B or C is given
    delta_proj_weight: Tensor  # [D, R]
    A: Tensor  # [D, N]
    B: Tensor | None = None  # None: projected; else as in selective_scan_fn
    C: Tensor | None = None
    D: Tensor | None = None  # [D]
    delta_bias: Tensor | None = None  # [D]
    B_proj_bias: Tensor | None = None  # [N]
    C_proj_bias: Tensor | None = None  # [N]
    delta_softplus: bool = True
    b_rms_weight: Tensor | None = None  # [N], of an RMS norm of B
    c_rms_weight: Tensor | None = None  # [N]
    dt_rms_weight: Tensor | None = None  # [R]
    b_c_dt_rms_eps: float = 1e-6


def mix(x: Tensor, z: Tensor, w: InnerWeights, **how: Any) -> tuple[Tensor, Tensor | None]:
    """Mix `x` along the steps and multiply it with SiLU of `z`; `how` goes to `lobes.scan.selective_scan`.

    Arguments
    ---------
    x, z : Tensor
        Rows [B, L, D].
    w : InnerWeights
        The weights.

    Returns
    -------
    y : Tensor
        [B, L, D].
    last_state : Tensor or None
        [B, D, N], if `how` asks for it.

    Example
    -------
    >>> import torch
    >>> w = InnerWeights(torch.rand(8, 1, 4), None, torch.rand(9, 8), torch.rand(8, 1), -torch.rand(8, 4))
    >>> mix(torch.rand(2, 5, 8), torch.rand(2, 5, 8), w)[0].shape
    torch.Size([2, 5, 8])
    """
    u = causal_conv1d_fn(x.transpose(1, 2), w.conv1d_weight[:, 0], w.conv1d_bias, activation="silu").transpose(1, 2)
    rank, states = w.delta_proj_weight.shape[1], w.A.shape[1]
    selected = F.linear(u, w.x_proj_weight)  # [B, L, R + 2 N]
    B = _maps(selected[..., rank : rank + states], w.B_proj_bias, w.b_rms_weight, w) if w.B is None else w.B
    C = _maps(selected[..., -states:], w.C_proj_bias, w.c_rms_weight, w) if w.C is None else w.C
    dt = _norm(selected[..., :rank], w.dt_rms_weight, w)
    # a contiguous transpose of the few columns lets both gradients be multiplied in a third of the time on CPUs
    delta = dt @ w.delta_proj_weight.t().contiguous()  # [B, L, D]
    return scan_rows(u, delta, w.A, B, C, w.D, z, w.delta_bias, delta_softplus=w.delta_softplus, **how)


def _maps(rows: Tensor, bias: Tensor | None, weight: Tensor | None, w: InnerWeights) -> Tensor:
    """B or C [B, N, L] from their columns of the projection [B, L, N]."""
    rows = rows if bias is None else rows + bias.to(rows.dtype)
    return _norm(rows, weight, w).transpose(1, 2)


def _norm(rows: Tensor, weight: Tensor | None, w: InnerWeights) -> Tensor:
    if weight is None:
        return rows
    return F.rms_norm(at_least_fp32(rows), weight.shape, at_least_fp32(weight), w.b_c_dt_rms_eps).to(rows.dtype)


def mamba_inner_fn(
    xz: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    x_proj_weight: Tensor,
    delta_proj_weight: Tensor,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    A: Tensor,
    B: Tensor | None = None,
    C: Tensor | None = None,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    B_proj_bias: Tensor | None = None,
    C_proj_bias: Tensor | None = None,
    delta_softplus: bool = True,
    checkpoint_lvl: int = 1,
    b_rms_weight: Tensor | None = None,
    c_rms_weight: Tensor | None = None,
    dt_rms_weight: Tensor | None = None,
    b_c_dt_rms_eps: float = 1e-6,
) -> Tensor:
    """Run the inner part as `mamba_ssm.ops.selective_scan_interface.mamba_inner_fn`.

    Arguments
    ---------
    xz : Tensor
        x and z, one after the other along the channels, [B, 2 D, L].
    out_proj_weight, out_proj_bias : Tensor
        [E, D] and [E] or None.
    conv1d_weight, ... , b_c_dt_rms_eps
        As in `InnerWeights`.
    checkpoint_lvl : int
        In mamba_ssm, whether the backward pass computes the convolution and the step sizes again. Here they are kept.

    Returns
    -------
    Tensor
        [B, L, E].

    Example
    -------
    >>> import torch
    >>> weights = [torch.rand(8, 1, 4), torch.rand(8), torch.rand(9, 8), torch.rand(8, 1), torch.rand(3, 8), None]
    >>> mamba_inner_fn(torch.rand(2, 16, 5), *weights, -torch.rand(8, 4)).shape
    torch.Size([2, 5, 3])
    """
    return _inner(
        "auto", xz, out_proj_weight, out_proj_bias,
        InnerWeights(
            conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A, B, C, D, delta_bias, B_proj_bias,
            C_proj_bias, delta_softplus, b_rms_weight, c_rms_weight, dt_rms_weight, b_c_dt_rms_eps,
        ),
    )  # fmt: skip


def mamba_inner_ref(
    xz: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    x_proj_weight: Tensor,
    delta_proj_weight: Tensor,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    A: Tensor,
    B: Tensor | None = None,
    C: Tensor | None = None,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    B_proj_bias: Tensor | None = None,
    C_proj_bias: Tensor | None = None,
    delta_softplus: bool = True,
) -> Tensor:
    """Run the inner part as `mamba_inner_fn`, with the readable loop over time.

    Example
    -------
    >>> import torch
    >>> weights = [torch.rand(8, 1, 4), torch.rand(8), torch.rand(9, 8), torch.rand(8, 1), torch.rand(3, 8), None]
    >>> inputs = [torch.rand(2, 16, 5), *weights, -torch.rand(8, 4)]
    >>> torch.allclose(mamba_inner_fn(*inputs), mamba_inner_ref(*inputs), atol=1e-4)
    True
    """
    weights = (conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A, B, C, D, delta_bias)
    w = InnerWeights(*weights, B_proj_bias, C_proj_bias, delta_softplus)
    return _inner("reference", xz, out_proj_weight, out_proj_bias, w)


def _inner(backend: str, xz: Tensor, weight: Tensor, bias: Tensor | None, w: InnerWeights) -> Tensor:
    x, z = dense(xz.transpose(1, 2)).chunk(2, -1)  # [B, L, D]
    return F.linear(mix(x, z, w, backend=backend)[0], weight, bias)
