"""One self-attention for two directions: frames of a band, bands of a frame. B batch, L frames, K bands, D channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.band_mamba import SLICE
from lobes.nnet.lengths import mask, zero_padding
from lobes.nnet.slices import in_slices


class TimeBandAttention(nn.Module):
    """Multi-head self-attention along time, then along bands, each with a residual; one set of weights does both.

    Sharing the weights is the idea of MambAttention (Kühne et al. 2025, arXiv 2507.00966), which has them before its
    Mamba layers. No positions are added: layers before this one know the order of frames, and the band split has
    weights of its own for each band.

    PyTorch's fused attention keeps no matrix of all pairs of frames: memory grows with L, time with its square.

    Arguments
    ---------
    n_channels : int
        Channels D, divisible by the number of heads.
    n_heads : int
        Heads H.

    Raises
    ------
    UserError
        If the heads do not divide the channels.

    Example
    -------
    >>> import torch
    >>> TimeBandAttention(16)(torch.rand(2, 5, 3, 16), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 3, 16])
    """

    def __init__(self, n_channels: int, n_heads: int = 4) -> None:
        super().__init__()
        if n_heads < 1 or n_channels % n_heads:
            raise UserError(
                f"attention: n_heads must divide n_channels, got n_channels={n_channels}, n_heads={n_heads}; change "
                "either. n_heads: 0 leaves attention out"
            )
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(n_channels)
        self.inputs = nn.Linear(n_channels, 3 * n_channels, bias=False)  # the norm has one; a key's would do nothing
        self.output = nn.Linear(n_channels, n_channels)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Attend within `x` [B, L, K, D]. Frames after an item's `frames` (Long [B]) are not attended to."""
        x = in_slices(lambda part: self._along_time(part, frames), x, dim=2, size=SLICE)
        return in_slices(self._along_bands, x, dim=1, size=SLICE)

    def _along_time(self, x: Tensor, frames: Tensor | None) -> Tensor:
        bands, keep = x.shape[2], None
        if frames is not None:
            keep = mask(frames, x.shape[1]).repeat_interleave(bands, 0)[:, None, None]  # [B K, 1, 1, L]
        y = zero_padding(self.norm(x), frames).transpose(1, 2).flatten(0, 1)  # [B K, L, D]
        return x + self._attend(y, keep).unflatten(0, (-1, bands)).transpose(1, 2)

    def _along_bands(self, x: Tensor) -> Tensor:
        return x + self._attend(self.norm(x).flatten(0, 1)).unflatten(0, x.shape[:2])  # [B L, K, D] inside

    def _attend(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Each step of M sequences [M, L, D] to those of its own that `keep` (bool [M, 1, 1, L]) marks."""
        heads = self.inputs(x).unflatten(-1, (3, self.n_heads, -1))  # [M, L, 3, H, D/H]
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # [M, H, L, D/H]
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=keep)
        return self.output(y.transpose(1, 2).flatten(2))  # [M, L, D]
