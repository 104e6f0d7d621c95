"""The block of the causal SPMamba. B batch, L frames, F bins, D channels, W windows."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention
from lobes.nnet.gridnet import AlongBins
from lobes.nnet.memory import Memory, behind_past
from lobes.nnet.norms import LN4D
from lobes.nnet.windows import MergeWindows, covered, split_windows


class CausalGridNetBlock(nn.Module):
    """`lobes.nnet.gridnet.GridNetBlock` without a look at later frames.

    Along bins it is the same, in both directions: the bins of a frame are there together. Along frames and in the
    attention it looks back only.

    Arguments
    ---------
    emb_dim : int
        Channels D.
    n_bins : int
        Bins F.
    along_bins, along_frames : nn.Module
        Sequence models for windows of emb_dim * emb_ks features, with their output features as the attribute
        `outputs`. The latter takes a memory, and gives as many features as it gets.
    emb_ks, emb_hs, n_heads, approx_qk_dim, attention_window
        As in `lobes.models.spmamba.SPMamba`.

    Raises
    ------
    UserError
        If windows would leave gaps, or for an attention that does not fit.

    Example
    -------
    >>> from lobes.nnet.bimamba import BiMamba, MambaBlock
    >>> block = CausalGridNetBlock(8, 17, BiMamba(32), MambaBlock(32), 4, 4, 2, 32, attention_window=3)
    >>> block(torch.rand(2, 10, 17, 8)).shape
    torch.Size([2, 10, 17, 8])
    """

    def __init__(
        self,
        emb_dim: int,
        n_bins: int,
        along_bins: nn.Module,
        along_frames: nn.Module,
        emb_ks: int,
        emb_hs: int,
        n_heads: int,
        approx_qk_dim: int,
        attention_window: int,
    ) -> None:
        super().__init__()
        if not 1 <= emb_hs <= emb_ks:
            raise UserError(f"expected 1 <= emb_hs <= emb_ks, got emb_ks={emb_ks}, emb_hs={emb_hs}; change either")
        self.emb_ks, self.emb_hs, features = emb_ks, emb_hs, emb_dim * emb_ks
        outputs: Any = along_bins.outputs
        self.along_bins = AlongBins(emb_dim, along_bins, MergeWindows(outputs, emb_dim, emb_ks, emb_hs))
        self.along_frames = CausalAlongFrames(emb_dim, along_frames, MergeWindows(features, emb_dim, emb_ks, emb_hs))
        attention = (emb_dim, n_bins, n_heads, approx_qk_dim, attention_window, True)
        self.attention = CrossFrameAttention(*attention) if n_heads else None

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run the block on `x` [B, L, F, D]; with a `memory`, on a chunk of a stream.

        `frames` has no effect: padding is last, and no frame sees a later one.
        """
        n_bins = x.shape[2]
        x = self.along_bins(F.pad(x, (0, 0, 0, covered(n_bins, self.emb_ks, self.emb_hs) - n_bins)))  # [B, L, F', D]
        x = self.along_frames(x, memory)[:, :, :n_bins]  # [B, L, F, D]
        return x if self.attention is None else self.attention(x, None, memory)


class CausalAlongFrames(nn.Module):
    """x + merged outputs of a sequence model over windows of frames; each affects its last frame and later ones.

    Window w ends at frame w * hop, and its output is spread over the `size` frames from there on, so that each frame
    has the same number of windows as in `lobes.nnet.gridnet.AlongFrames`, all of them complete.

    Arguments
    ---------
    n_channels : int
        Channels D.
    sequence : nn.Module
        Forward in time: [M, W, features], steps and a memory to [M, W, outputs].
    merge : MergeWindows
        From outputs to frames.

    Example
    -------
    >>> from lobes.nnet.bimamba import MambaBlock
    >>> layer, x = CausalAlongFrames(8, MambaBlock(32), MergeWindows(32, 8, 4, 2)), torch.rand(2, 7, 3, 8)
    >>> memory = Memory()
    >>> parts = [layer(chunk, memory) for chunk in x.split(3, 1)]
    >>> torch.allclose(torch.cat(parts, 1), layer(x), atol=1e-5)
    True
    """

    def __init__(self, n_channels: int, sequence: nn.Module, merge: MergeWindows) -> None:
        super().__init__()
        self.norm, self.sequence, self.merge = LN4D(n_channels), sequence, merge

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, F, D]; with a `memory`, over a chunk of a stream."""
        bins = x.shape[2]
        h = self.norm(x).transpose(1, 2).flatten(0, 1)  # [B F, L, D]
        y = self._windows(h, memory) + self.merge.bias  # type: ignore[operator]  # [B F, L, D]
        return x + y.unflatten(0, (-1, bins)).transpose(1, 2)  # [B, L, F, D]

    def _windows(self, h: Tensor, memory: Memory | None) -> Tensor:
        """Sum what complete windows of `h` [M, L, D] give to its frames: [M, L, D]."""
        size, hop, steps = self.merge.size, self.merge.hop, h.shape[1]
        # frames that no window has begun with, and sums for frames to come
        waiting, sums = (
            (h.new_zeros(h.shape[0], size - 1, h.shape[2]), None) if memory is None else self._past(h, memory)
        )
        first = size - 1 - waiting.shape[1]  # frame of this chunk at which its first window ends
        waiting = torch.cat((waiting, h), 1)
        windows = max((waiting.shape[1] - size) // hop + 1, 0)
        last = max(steps, first + windows * hop - hop + size)
        y = h.new_zeros(h.shape[0], last, h.shape[2])
        if sums is not None:  # not longer than `last`: they end where a window that ends before this chunk does
            y = y + F.pad(sums, (0, 0, 0, last - sums.shape[1]))
        if windows:
            z = split_windows(waiting[:, : (windows - 1) * hop + size], size, hop)  # [M, W, features]
            z = self.merge.spread(self.sequence(z, None, memory))
            y = y + F.pad(z, (0, 0, first, y.shape[1] - first - z.shape[1]))
        if memory is not None:
            memory[self] = waiting[:, windows * hop :].clone(), y[:, steps:].clone()
        return y[:, :steps]

    def _past(self, h: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        return memory.get(self) or (h.new_zeros(h.shape[0], self.merge.size - 1, h.shape[2]), None)


def looking_back(conv: nn.Module, x: Tensor, memory: Memory | None = None) -> Tensor:
    """Run a convolution of 3 x 3 with padding 1, transposed or not, on `x` [B, D, L, F] and the two frames before each.

    Its output for a frame becomes that for the next one, so that the same weights look back instead of around.

    Example
    -------
    >>> x, conv = torch.rand(1, 2, 5, 4), nn.Conv2d(2, 3, 3, padding=1)
    >>> torch.allclose(looking_back(conv, x)[:, :, 1:], conv(x)[:, :, :-1], atol=1e-6)
    True
    """
    return conv(behind_past(x, 2, 2, memory, conv))[:, :, 1:-1]
