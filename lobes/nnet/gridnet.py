"""The block of SPMamba and of TF-GridNet. B batch, L frames, F bins, D channels, W windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention
from lobes.nnet.lengths import derived, zero_padding
from lobes.nnet.norms import LN4D
from lobes.nnet.slices import in_slices
from lobes.nnet.windows import MergeWindows, covered, n_windows, split_windows


class GridNetBlock(nn.Module):
    """A sequence model along bins, one along frames, then attention across frames, each with a residual.

    With LSTMs it is TF-GridNet's block (Wang et al. 2023, arXiv:2211.12433), with Mamba that of SPMamba (Li et al.
    2024, arXiv:2404.02063, section II).

    Arguments
    ---------
    emb_dim : int
        Channels D.
    n_bins : int
        Bins F.
    sequence : callable
        Makes a sequence model for a number of features: [B, W, features] and steps (Long [B] or None) to
        [B, W, outputs].
    outputs : int
        Output features of the sequence model.
    emb_ks, emb_hs : int
        Size and hop of the windows of bins or frames that make one step of a sequence.
    over_time : callable, optional
        Makes another sequence model for frames, with its output features as the attribute `outputs`.
    n_heads, approx_qk_dim, attention_window : int
        As in `CrossFrameAttention`; with no heads there is no attention.

    Raises
    ------
    UserError
        If windows would leave gaps.

    Example
    -------
    >>> import torch
    >>> from lobes.nnet.bimamba import BiMamba
    >>> block = GridNetBlock(8, 17, BiMamba, outputs=64, emb_ks=4, emb_hs=4, n_heads=2, approx_qk_dim=32)
    >>> block(torch.rand(2, 10, 17, 8), torch.tensor([10, 6])).shape
    torch.Size([2, 10, 17, 8])
    """

    def __init__(
        self,
        emb_dim: int,
        n_bins: int,
        sequence: Callable[[int], nn.Module],
        outputs: int,
        emb_ks: int = 8,
        emb_hs: int = 1,
        n_heads: int = 4,
        approx_qk_dim: int = 512,
        attention_window: int = 0,
        over_time: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= emb_hs <= emb_ks:
            raise UserError(f"expected 1 <= emb_hs <= emb_ks, got emb_ks={emb_ks}, emb_hs={emb_hs}; change either")
        self.emb_ks, self.emb_hs = emb_ks, emb_hs
        # the attention is made first, as it always was: the initial weights of a seed depend on the order
        attention = (emb_dim, n_bins, n_heads, approx_qk_dim, attention_window)
        self.attention = CrossFrameAttention(*attention) if n_heads else None
        features = emb_dim * emb_ks
        self.along_bins = AlongBins(emb_dim, sequence(features), MergeWindows(outputs, emb_dim, emb_ks, emb_hs))
        over_frames: Any = (over_time or sequence)(features)
        merged = over_frames.outputs if over_time else outputs
        self.along_frames = AlongFrames(emb_dim, over_frames, MergeWindows(merged, emb_dim, emb_ks, emb_hs))

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run the block on `x` [B, L, F, D] with `frames` valid frames per item (Long [B]; None: all).

        Later frames have no effect; the result [B, L, F, D] holds arbitrary finite values there.
        """
        n_frames, n_bins = x.shape[1:3]
        more_frames = covered(n_frames, self.emb_ks, self.emb_hs) - n_frames
        more_bins = covered(n_bins, self.emb_ks, self.emb_hs) - n_bins
        # zeros after an item's own end, because the item alone would be padded with zeros too
        x = F.pad(zero_padding(x, frames), (0, 0, 0, more_bins, 0, more_frames))  # [B, L', F', D]
        x = self.along_bins(x)  # [B, L', F', D]
        x = self.along_frames(x, frames)  # [B, L', F', D]
        x = x[:, :n_frames, :n_bins]  # [B, L, F, D]
        return x if self.attention is None else self.attention(x, frames)


class AlongBins(nn.Module):
    """x + merged outputs of a sequence model over windows of bins; each frame is a sequence.

    `merge` maps the outputs of `sequence` back to bins; it knows the size and the hop of the windows.

    Example
    -------
    >>> import torch
    >>> from lobes.nnet.bilstm import BiLSTM
    >>> AlongBins(8, BiLSTM(32, 5), MergeWindows(10, 8, 4, 4))(torch.rand(2, 3, 12, 8)).shape
    torch.Size([2, 3, 12, 8])
    """

    def __init__(self, n_channels: int, sequence: nn.Module, merge: MergeWindows) -> None:
        super().__init__()
        self.norm, self.sequence, self.merge = LN4D(n_channels), sequence, merge

    def forward(self, x: Tensor) -> Tensor:
        """Run over `x` [B, L, F, D], where windows cover F exactly."""
        return in_slices(self._along, x, dim=1, expansion=self.merge.overlap)

    def _along(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(0, 1)  # [B L, F, D]
        h = self.sequence(split_windows(h, self.merge.size, self.merge.hop), None)  # [B L, W, outputs]
        return x + self.merge(h).view_as(x)  # [B, L, F, D]


class AlongFrames(nn.Module):
    """x + merged outputs of a sequence model over windows of frames; each bin is a sequence, as long as its item.

    The arguments are those of `AlongBins`.

    Example
    -------
    >>> import torch
    >>> from lobes.nnet.bilstm import BiLSTM
    >>> AlongFrames(8, BiLSTM(32, 5), MergeWindows(10, 8, 4, 4))(torch.rand(2, 12, 3, 8), torch.tensor([12, 5])).shape
    torch.Size([2, 12, 3, 8])
    """

    def __init__(self, n_channels: int, sequence: nn.Module, merge: MergeWindows) -> None:
        super().__init__()
        self.norm, self.sequence, self.merge = LN4D(n_channels), sequence, merge

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, F, D], where windows cover L exactly, with `frames` valid frames per item (Long [B])."""
        return in_slices(lambda part: self._along(part, frames), x, dim=2, expansion=self.merge.overlap)

    def _along(self, x: Tensor, frames: Tensor | None) -> Tensor:
        size, hop, bins = self.merge.size, self.merge.hop, x.shape[2]
        windows = None
        if frames is not None:
            windows = derived(frames, lambda n: n_windows(n, size, hop).repeat_interleave(bins))  # [B F]
        h = self.norm(x).transpose(1, 2).flatten(0, 1)  # [B F, L, D]
        h = self.sequence(split_windows(h, size, hop), windows)  # [B F, W, outputs]
        return x + self.merge(h).unflatten(0, (-1, bins)).transpose(1, 2)  # [B, L, F, D]
