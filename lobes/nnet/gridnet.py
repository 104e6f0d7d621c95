"""The block of SPMamba and of TF-GridNet. B batch, L frames, F bins, D channels, W windows."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention
from lobes.nnet.lengths import zero_padding
from lobes.nnet.norms import LN4D
from lobes.nnet.windows import MergeWindows, covered, n_windows, split_windows


class GridNetBlock(CrossFrameAttention):
    """A sequence model along bins, one along frames, then attention across frames, each with a residual.

    TF-GridNet's block (Wang et al. 2023, arXiv:2211.12433) with LSTMs; with Mamba in their place that of SPMamba (Li
    et al. 2024, section II). It extends the attention, rather than holding it, so that its state-dict keys lie flat as
    published.

    Arguments
    ---------
    emb_dim : int
        Channels D.
    n_bins : int
        Bins F.
    sequence : callable
        Makes a sequence model of so many features, [B, W, features] and lengths (Long [B] or None) to [B, W, outputs].
    outputs : int
        What it gives.
    kind : str
        Its name in the state dict: `intra_<kind>`, `inter_<kind>`.
    emb_ks, emb_hs : int
        Size and hop of the windows of bins or frames that make one step of a sequence.
    n_heads, approx_qk_dim : int
        As in `CrossFrameAttention`.

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
        kind: str = "mamba",
        emb_ks: int = 8,
        emb_hs: int = 1,
        n_heads: int = 4,
        approx_qk_dim: int = 512,
    ) -> None:
        super().__init__(emb_dim, n_bins, n_heads, approx_qk_dim)
        if not 1 <= emb_hs <= emb_ks:
            raise UserError(f"expected 1 <= emb_hs <= emb_ks, got emb_ks={emb_ks}, emb_hs={emb_hs}; change either")
        self.emb_ks, self.emb_hs, self.kind = emb_ks, emb_hs, kind
        features = emb_dim * emb_ks
        self.intra_norm = LN4D(emb_dim)
        self.add_module(f"intra_{kind}", sequence(features))
        self.intra_linear = MergeWindows(outputs, emb_dim, emb_ks, emb_hs)
        self.inter_norm = LN4D(emb_dim)
        self.add_module(f"inter_{kind}", sequence(features))
        self.inter_linear = MergeWindows(outputs, emb_dim, emb_ks, emb_hs)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run the block.

        Arguments
        ---------
        x : Tensor
            Input [B, L, F, D].
        frames : Tensor or None
            Valid frames per item, Long [B]; None: all. What stands after them has no effect.

        Returns
        -------
        Tensor
            [B, L, F, D]; frames after an item's end hold arbitrary finite values.
        """
        n_frames, n_bins = x.shape[1:3]
        more_frames = covered(n_frames, self.emb_ks, self.emb_hs) - n_frames
        more_bins = covered(n_bins, self.emb_ks, self.emb_hs) - n_bins
        # zeros after the item's own end are what the item alone would be padded with
        x = F.pad(zero_padding(x, frames), (0, 0, 0, more_bins, 0, more_frames))  # [B, L', F', D]
        x = self._along_frames(self._along_bins(x), frames)
        return super().forward(x[:, :n_frames, :n_bins], frames)

    def _along_bins(self, x: Tensor) -> Tensor:
        """[B, L', F', D]: every frame is a sequence of bins, always full."""
        h = self.intra_norm(x).flatten(0, 1)  # [B*L', F', D]
        h = self.get_submodule(f"intra_{self.kind}")(split_windows(h, self.emb_ks, self.emb_hs), None)  # [B*L', W, C]
        return x + self.intra_linear(h).view_as(x)

    def _along_frames(self, x: Tensor, frames: Tensor | None) -> Tensor:
        """[B, L', F', D]: every bin is a sequence of frames, as long as its item."""
        windows = None if frames is None else n_windows(frames, self.emb_ks, self.emb_hs).repeat_interleave(x.shape[2])
        h = self.inter_norm(x).transpose(1, 2).flatten(0, 1)  # [B*F', L', D]
        h = self.get_submodule(f"inter_{self.kind}")(
            split_windows(h, self.emb_ks, self.emb_hs), windows
        )  # [B*F', W, C]
        return x + self.inter_linear(h).unflatten(0, (-1, x.shape[2])).transpose(1, 2)  # [B, L', F', D]
