"""Self-attention across frames. B batch, L frames, F bins, D channels, H heads, E channels of a query, key or value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.lengths import mask
from lobes.nnet.memory import Memory
from lobes.nnet.norms import LN4DCF
from lobes.nnet.precision import at_least_fp32, no_autocast
from lobes.nnet.slices import in_slices
from lobes.nnet.window_attention import windowed_attention

QUERIES = 64  # frames of each item and head that attend at a time, where nothing is trained


class CrossFrameAttention(nn.Module):
    """Multi-head self-attention between whole frames, with its residual (TF-GridNet, Wang et al. 2023).

    Arguments
    ---------
    n_channels : int
        Channels D, divisible by the number of heads.
    n_bins : int
        Bins F.
    n_heads : int
        Heads H.
    approx_qk_dim : int
        Approximate size of a frame's query, which has E = ceil(approx_qk_dim / n_bins) channels in each bin.
    window : int
        A frame attends to itself, to so many frames before it and, unless `causal`, to as many after it: linear in the
        number of frames, where attention to all of them is quadratic. 0: no window, to all frames of its item.
    causal : bool
        To no later frame. Needs a window, so that a stream keeps no more frames than that.

    Raises
    ------
    UserError
        If the heads do not divide the channels, or the window is negative, or missing where `causal` needs it.

    Example
    -------
    >>> CrossFrameAttention(16, 129, n_heads=4, approx_qk_dim=512)(torch.rand(2, 7, 129, 16)).shape
    torch.Size([2, 7, 129, 16])
    """

    def __init__(
        self,
        n_channels: int,
        n_bins: int,
        n_heads: int = 4,
        approx_qk_dim: int = 512,
        window: int = 0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if window < 0 or (causal and not window):
            raise UserError(
                f"attention: expected attention_window of at least {int(causal)} frames, got {window}"
                + ("; a causal network keeps so many frames. n_heads: 0 leaves attention out" if causal else "")
            )
        self.before, self.after = window, 0 if causal else window
        if n_channels % n_heads:
            raise UserError(
                f"attention: n_heads must divide emb_dim, got emb_dim={n_channels}, n_heads={n_heads}; change either"
            )
        sizes = [math.ceil(approx_qk_dim / n_bins)] * 2 + [n_channels // n_heads]  # E of query, key and value
        heads = [[nn.Linear(n_channels, size) for size in sizes] for _ in range(n_heads)]
        self.query, self.key, self.value = (HeadProjection(maps, n_bins) for maps in zip(*heads, strict=True))
        self.output = Projection(n_channels, n_channels, n_bins)

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Attend: x + attention, [B, L, F, D]. Frames after an item's valid `frames` (Long [B]) are not attended to.

        With a `memory`, which only causal attention takes, `x` is a chunk of a stream.
        """
        y = self._attend(x, frames, memory).unflatten(-1, (-1, x.shape[2]))  # [B, H, L, D/H, F]
        y = y.permute(0, 2, 4, 1, 3).flatten(3)  # [B, L, F, D]
        return x + in_slices(self.output, y, dim=1)

    def _attend(self, x: Tensor, frames: Tensor | None, memory: Memory | None) -> Tensor:
        """What the heads take from all frames, [B, H, L, D/H F]."""
        query, key, value = self.query(x), self.key(x), self.value(x)  # [B, H, L, E F]; E = D/H in value
        if not self.before:
            keep = None if frames is None else mask(frames, x.shape[1])[:, None, None, :]  # [B, 1, 1, L]
            # queries do not see each other: in slices the weights, L for each query, are never there all at once
            attend = partial(F.scaled_dot_product_attention, key=key, value=value, attn_mask=keep)
            return in_slices(attend, query, dim=2, size=QUERIES * (query.numel() // query.shape[2]))
        if memory is not None:
            key, value = self._with_past(key, value, memory)
        return windowed_attention(query, key, value, self.before, self.after, frames)

    def _with_past(self, key: Tensor, value: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Put the keys and values of the frames before in front, and remember as many as the window needs."""
        if self in memory:
            key, value = (torch.cat(pair, 2) for pair in zip(memory[self], (key, value), strict=True))
        memory[self] = tuple(x[:, :, -self.before :].clone() for x in (key, value))
        return key, value


class HeadProjection(nn.Module):
    """The queries, keys or values of all heads: linear map, PReLU with one slope per head, norm over a head's frame.

    `heads` are the initial linear maps of the heads, from D to E channels each.

    Example
    -------
    >>> HeadProjection([nn.Linear(16, 4), nn.Linear(16, 4)], 129)(torch.rand(3, 7, 129, 16)).shape
    torch.Size([3, 2, 7, 516])
    """

    def __init__(self, heads: Sequence[nn.Linear], n_bins: int) -> None:
        super().__init__()
        shape = (len(heads), heads[0].out_features, n_bins)  # H, E, F
        self.weight = nn.Parameter(torch.cat([head.weight.detach() for head in heads]))  # [H E, D]
        self.bias = nn.Parameter(torch.cat([head.bias.detach() for head in heads]))  # [H E]
        self.slope = nn.Parameter(torch.full(shape[:1], 0.25))
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Project `x` [B, L, F, D] to [B, H, L, E F], at least fp32."""
        y = F.linear(x, self.weight, self.bias).unflatten(-1, (len(self.slope), -1))  # [B, L, F, H, E]
        y = y.permute(0, 3, 1, 4, 2).contiguous()  # [B, H, L, E, F]; PReLU is slow on strided tensors
        with no_autocast(x):
            y = F.prelu(at_least_fp32(y), self.slope)
            y = F.layer_norm(y, y.shape[-2:], eps=1e-5)
            return torch.addcmul(self.beta[:, None], y, self.gamma[:, None]).flatten(3)  # [B, H, L, E F]


class Projection(nn.Module):
    """Linear map, PReLU with one slope, norm over the channels and bins of each frame.

    Example
    -------
    >>> Projection(16, 4, 129)(torch.rand(2, 7, 129, 16)).shape
    torch.Size([2, 7, 129, 4])
    """

    def __init__(self, n_in: int, n_out: int, n_bins: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.activation = nn.PReLU()
        self.norm = LN4DCF(n_out, n_bins)

    def forward(self, x: Tensor) -> Tensor:
        """Project `x` [B, L, F, n_in] to [B, L, F, n_out]."""
        return self.norm(self.activation(self.linear(x)))
