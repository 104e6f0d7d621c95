"""Matrix memories with decay in chunks: the common part of Mamba-2 and of the mLSTM.

B batch, H heads, c steps of a chunk, N rows and P columns of a memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 64  # steps that are computed at once


def advance(
    query: Tensor, key: Tensor, value: Tensor, reach: Tensor, source: Tensor, carried: Tensor | float, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a memory that takes up key value^T at each step over one chunk.

    With decays d, the sums of their logarithms b_t and input weights w_s,
    y_t = sum over s <= t of exp(b_t - b_s) w_s (q_t . k_s) v_s + exp(b_t) q_t state.
    All weights stand here as exp(reach_t + source_s) and exp(reach_t + carried), so that a caller can keep their sums
    from overflowing. Memory and time of a chunk are those of its c x c weights.

    Source: Dao and Gu 2024, arXiv:2405.21060, section 6; Beck et al. 2024, arXiv:2405.04517, appendix A.

    Arguments
    ---------
    query, key : Tensor
        [B, H, c, N], or with one head that all share.
    value : Tensor
        [B, H, c, P].
    reach, source : Tensor
        [B, H, c].
    carried : Tensor or float
        [B, H, 1], or one number for all.
    state : Tensor
        Memory before the chunk, [B, H, N, P].

    Returns
    -------
    y : Tensor
        [B, H, c, P].
    state : Tensor
        Memory after the chunk.

    Example
    -------
    >>> q, v, ones = torch.ones(1, 1, 3, 1), torch.ones(1, 1, 3, 2), torch.zeros(1, 1, 3)
    >>> y, state = advance(q, q, v, ones, ones, 0.0, torch.zeros(1, 1, 1, 2))
    >>> y[0, 0, :, 0], state.flatten()
    (tensor([1., 2., 3.]), tensor([3., 3.]))
    """
    steps = reach.shape[-1]
    later = torch.ones(steps, steps, dtype=torch.bool, device=reach.device).triu(1)  # s > t
    # masked before the exponential: what is never used must neither overflow nor give a gradient
    weights = (reach[..., :, None] + source[..., None, :]).masked_fill(later, float("-inf")).exp()  # [B, H, c, c]
    y = (query @ key.transpose(-1, -2) * weights) @ value
    y = y + (reach + carried).exp()[..., None] * (query @ state)
    kept, taken = (reach[..., -1:] + carried).exp(), (reach[..., -1:] + source).exp()  # [B, H, 1], [B, H, c]
    return y, kept[..., None] * state + key.transpose(-1, -2) @ (taken[..., None] * value)
