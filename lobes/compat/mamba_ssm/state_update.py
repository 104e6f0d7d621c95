"""One step of the scan, for streaming. B batch, D channels, N state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.errors import UserError
from lobes.nnet.precision import at_least_fp32


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
) -> Tensor:
    """Run one step as `mamba_ssm.ops.triton.selective_state_update.selective_state_update`, without heads.

    It computes in float32 or better and rounds the state to its own dtype at the end. It is meant for
    `torch.no_grad()`: the state is changed in place.

    Arguments
    ---------
    state : Tensor
        [B, D, N], changed in place.
    x, dt, z : Tensor
        Input, step size and what multiplies the output through SiLU, [B, D].
    A : Tensor
        [D, N].
    B, C : Tensor
        [B, N].
    D, dt_bias : Tensor, optional
        [D].
    dt_softplus : bool
        Pass dt + dt_bias through softplus.

    Returns
    -------
    Tensor
        [B, D] in the dtype of `x`.

    Raises
    ------
    UserError
        For inputs with heads, [B, H, D], which belong to Mamba-2.

    Example
    -------
    >>> state, one = torch.zeros(1, 1, 1), torch.ones(1, 1)
    >>> [selective_state_update(state, one, one, 0 * one, one, one).item() for _ in range(3)]
    [1.0, 2.0, 3.0]
    """
    if x.dim() != 2 or state.dim() != 3:
        raise UserError(
            f"selective_state_update: expected x [B, D] and a state [B, D, N], found {list(x.shape)} and "
            f"{list(state.shape)}: lobes.compat.mamba_ssm offers Mamba-1, which has no heads."
        )
    u, step, A, B, C = (at_least_fp32(tensor) for tensor in (x, dt, A, B, C))
    step = step if dt_bias is None else step + at_least_fp32(dt_bias)
    step = (F.softplus(step) if dt_softplus else step)[..., None]  # [B, D, 1]
    new = torch.exp(step * A) * at_least_fp32(state) + step * u[..., None] * B[:, None]  # [B, D, N]
    with torch.no_grad():
        state.copy_(new)
    y = (new * C[:, None]).sum(-1)  # [B, D]
    y = y if D is None else y + at_least_fp32(D) * u
    return (y if z is None else y * F.silu(at_least_fp32(z))).to(x.dtype)
