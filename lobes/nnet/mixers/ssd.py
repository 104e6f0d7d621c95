"""The recurrence of Mamba-2: step by step, and in chunks. B batch, L steps, H heads, P channels of a head, N states."""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.nnet.mixers.chunks import CHUNK, advance


def ssd_steps(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run the recurrence one step after another, slow and readable: what `ssd` is tested against.

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t x_t^T and y_t = C_t h_t in each head, whose decay is one number.

    Source: Dao and Gu 2024, arXiv:2405.21060, eq. 1 and 2 with a scalar A, discretised as in `mamba_ssm`.

    Arguments
    ---------
    x : Tensor
        [B, L, H, P].
    delta : Tensor
        Step sizes [B, L, H], positive.
    A : Tensor
        [H], negative.
    B, C : Tensor
        [B, L, N], the same for all heads.
    state : Tensor, optional
        State before the first step, [B, H, N, P]; zero if not given.

    Returns
    -------
    y : Tensor
        [B, L, H, P].
    state : Tensor
        State after the last step, [B, H, N, P].

    Example
    -------
    >>> y, state = ssd_steps(torch.ones(1, 3, 1, 2), torch.ones(1, 3, 1), torch.zeros(1), *[torch.ones(1, 3, 1)] * 2)
    >>> y[0, :, 0, 0]
    tensor([1., 2., 3.])
    """
    state = empty(x, B) if state is None else state
    outputs = []
    for step in range(x.shape[1]):
        decay = torch.exp(delta[:, step] * A)[..., None, None]  # [B, H, 1, 1]
        taken = delta[:, step, :, None] * x[:, step]  # [B, H, P]
        state = decay * state + B[:, step, None, :, None] * taken[:, :, None]  # [B, H, N, P]
        outputs.append((C[:, step, None, :, None] * state).sum(-2))  # [B, H, P]
    return torch.stack(outputs, 1), state


def ssd(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute what `ssd_steps` does, whose arguments these are, a chunk of steps at a time.

    Within a chunk it is attention with decay, between chunks the state passes on: memory grows with L and not with its
    square, on any device.

    Example
    -------
    >>> x, delta, A, B = torch.rand(2, 9, 3, 4), torch.rand(2, 9, 3), -torch.rand(3), torch.rand(2, 9, 5)
    >>> torch.allclose(ssd(x, delta, A, B, B)[0], ssd_steps(x, delta, A, B, B)[0], atol=1e-5)
    True
    """
    state = empty(x, B) if state is None else state
    value = (delta[..., None] * x).transpose(1, 2)  # [B, H, L, P]
    decay = (delta * A).transpose(1, 2)  # [B, H, L]
    outputs = []
    for start in range(0, x.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        reach = decay[..., part].cumsum(-1)
        y, state = advance(C[:, None, part], B[:, None, part], value[:, :, part], reach, -reach, 0.0, state)
        outputs.append(y)
    return torch.cat(outputs, 2).transpose(1, 2), state


def empty(x: Tensor, B: Tensor) -> Tensor:
    """The state before the first step, [B, H, N, P].

    Example
    -------
    >>> empty(torch.rand(2, 9, 3, 4), torch.rand(2, 9, 5)).shape
    torch.Size([2, 3, 5, 4])
    """
    return x.new_zeros(x.shape[0], x.shape[2], B.shape[2], x.shape[3])
