"""Attention within a window of frames. B batch, H heads, L frames, E and V channels of a query and a value."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def windowed_attention(
    query: Tensor, key: Tensor, value: Tensor, before: int, after: int, frames: Tensor | None = None
) -> Tensor:
    """Attend from each frame to itself, `before` frames before it and `after` frames after it.

    Frames are taken in blocks as long as the window, each with the keys around it, so that time and memory grow with L
    and not with its square.

    Arguments
    ---------
    query : Tensor
        [B, H, L, E].
    key, value : Tensor
        [B, H, P + L, E] and [B, H, P + L, V]: those of P <= before past frames, then those of the queries.
    before, after : int
        Frames of the window on either side.
    frames : Tensor, optional
        Valid frames of each item, Long [B]; only they are attended to, but a later frame attends to itself.

    Returns
    -------
    Tensor
        [B, H, L, V].

    Example
    -------
    >>> x = torch.rand(2, 4, 10, 6)
    >>> narrow, whole = windowed_attention(x, x, x, 2, 2), windowed_attention(x, x, x, 9, 9)
    >>> narrow.shape, torch.allclose(whole, F.scaled_dot_product_attention(x, x, x), atol=1e-6)
    (torch.Size([2, 4, 10, 6]), True)
    """
    new, past = query.shape[2], key.shape[2] - query.shape[2]
    block = before + after + 1  # shorter signals need no longer one, but a trace is for signals of any length
    block = block if torch.jit.is_tracing() else min(block, new)
    blocks = -(-new // block)
    more = blocks * block - new
    query = F.pad(query, (0, 0, 0, more)).unflatten(2, (blocks, block))  # [B, H, blocks, block, E]
    span = block + before + after  # keys around a block
    around = (F.pad(x, (0, 0, before - past, more + after)).unfold(2, span, block) for x in (key, value))
    key, value = (x.transpose(3, 4) for x in around)  # [B, H, blocks, span, E or V]
    keep = _window(new, past, before, after, block, blocks, frames, query.device)
    y = F.scaled_dot_product_attention(query, key, value, attn_mask=keep)  # [B, H, blocks, block, V]
    return y.flatten(2, 3)[:, :, :new]


def _window(
    new: int, past: int, before: int, after: int, block: int, blocks: int, frames: Tensor | None, device: torch.device
) -> Tensor:
    """Which keys a query attends to: bool [blocks, block, span], or [B, 1, blocks, block, span] with `frames`."""
    row = torch.arange(block, device=device)[:, None]
    column = torch.arange(block + before + after, device=device)[None]
    first = block * torch.arange(blocks, device=device)[:, None, None]
    position = first + column - before  # of a key, [blocks, 1, span]; the first query is at 0
    there = (position >= -past) & (position < new)
    if frames is not None:
        there = there & (position < frames[:, None, None, None, None])  # [B, 1, blocks, 1, span]
    within = (column >= row) & (column <= row + before + after)  # [block, span]
    return (there & within) | (column == row + before)  # itself in any case: a row without a key would be NaN
