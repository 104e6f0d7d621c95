"""The scan of rows [B, L, D] with B and C in every form that mamba_ssm knows: one map, groups of channels, or constant.

B batch, L steps, D channels, N state, G groups.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.errors import UserError
from lobes.kernels.memory import dense
from lobes.nnet.precision import at_least_fp32
from lobes.scan import selective_scan


def scan_rows(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    **how: Any,
) -> tuple[Tensor, Tensor | None]:
    """Scan rows: u, delta, z [B, L, D], all else as in `selective_scan_fn`; `how` goes to `lobes.scan.selective_scan`.

    Returns
    -------
    y : Tensor
        [B, L, D].
    last_state : Tensor or None
        [B, D, N], if `how` asks for it.

    Example
    -------
    >>> import torch
    >>> u, B = torch.ones(2, 5, 8), torch.ones(2, 4, 5)
    >>> y, last = scan_rows(u, u, -torch.ones(8, 4), B, B, return_last_state=True)
    >>> y.shape, last.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 8, 4]))
    """
    if A.is_complex() or B.is_complex() or C.is_complex():
        raise UserError(
            "selective_scan_fn: expected real A, B and C, found complex ones, which lobes.compat.mamba_ssm does not "
            "offer: make A real, such as -(1..N), or use the package mamba-ssm on a machine with CUDA."
        )
    for name, maps in (("B", B), ("C", C)):
        _check(name, maps, u, A)
    if B.dim() == 2 or C.dim() == 2:
        return _scan_constant(u, delta, A, B, C, D, z, delta_bias, **how)
    B, C = (dense(_grouped(maps).transpose(2, 3)) for maps in (B, C))  # [B, G, L, N]
    groups = max(B.shape[1], C.shape[1])
    if groups == 1:
        return _pair(selective_scan(u, delta, A, B[:, 0], C[:, 0], D, z, delta_bias, **how))
    parts = [_cut(x, -1, groups) for x in (u, delta)] + [_cut(A, 0, groups)]
    parts += [x.expand(-1, groups, -1, -1).unbind(1) for x in (B, C)]
    parts += [_cut(x, -1, groups) for x in (D, z, delta_bias)]
    done = [_pair(selective_scan(*arguments, **how)) for arguments in zip(*parts, strict=True)]
    ys, lasts = zip(*done, strict=True)
    return torch.cat(ys, -1), None if lasts[0] is None else torch.cat(lasts, 1)


def _check(name: str, maps: Tensor, u: Tensor, A: Tensor) -> None:
    """Raise ValueError if B or C has none of its forms, in the order of axes that the caller uses."""
    (batch, steps, channels), states = u.shape, A.shape[-1]
    fits = {2: (channels, states), 3: (batch, states, steps), 4: (batch, *maps.shape[1:2], states, steps)}
    divides = maps.dim() != 4 or (maps.shape[1] > 0 and channels % maps.shape[1] == 0)
    if tuple(maps.shape) != fits.get(maps.dim()) or not divides:
        raise ValueError(
            f"selective_scan_fn: {name} must be [B, N, L], [B, G, N, L] with D divisible by G, or [D, N], to go with "
            f"B={batch}, D={channels}, N={states}, L={steps}; found {list(maps.shape)}"
        )


def _grouped(maps: Tensor) -> Tensor:
    """[B, G, N, L], with one group if there is no axis for it."""
    return maps[:, None] if maps.dim() == 3 else maps


def _cut(x: Tensor | None, dim: int, groups: int) -> Any:
    """The channels of each group."""
    return [None] * groups if x is None else x.chunk(groups, dim)


def _pair(result: Any) -> tuple[Tensor, Tensor | None]:
    return result if isinstance(result, tuple) else (result, None)


def _scan_constant(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    **how: Any,
) -> tuple[Tensor, Tensor | None]:
    """Scan with a constant B or C [D, N]: every state becomes a channel, whose input holds B, and C sums them up.

    This takes N times the memory of the rows.
    """
    dtype, (channels, states) = u.dtype, A.shape
    u, delta, bias = (None if x is None else at_least_fp32(x) for x in (u, delta, delta_bias))  # type: ignore[assignment]
    delta = delta.repeat_interleave(states, -1)  # [B, L, D N]
    bias = None if bias is None else bias.repeat_interleave(states)
    ones = u.new_ones(*u.shape[:2], 1)  # [B, L, 1]
    inputs = (u[..., None] * _of_states(B, channels)).flatten(2)  # [B, L, D N]
    h, last = _pair(selective_scan(inputs, delta, A.reshape(-1, 1), ones, ones, delta_bias=bias, **how))
    y = (h.unflatten(2, (channels, states)) * _of_states(C, channels)).sum(-1)  # [B, L, D]
    y = y if D is None else y + at_least_fp32(D) * u
    y = y if z is None else y * F.silu(at_least_fp32(z))
    return y.to(dtype), None if last is None else last.view(-1, channels, states)


def _of_states(maps: Tensor, channels: int) -> Tensor:
    """B or C by channel and state: [D, N], or [B, L, D, N] if it changes with time."""
    if maps.dim() == 2:
        return at_least_fp32(maps)
    maps = _grouped(at_least_fp32(maps)).permute(0, 3, 1, 2)  # [B, L, G, N]
    return maps.repeat_interleave(channels // maps.shape[2], 2)
