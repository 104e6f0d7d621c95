"""Masking models in the time domain: encoder, mask network, decoder.

B batch, T samples, N filters, L frames, S sources.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.contract import check_mixtures
from lobes.nnet.lengths import to_samples
from lobes.nnet.level import item_level, to_unit_level


class MaskingSeparator(nn.Module):
    """Wrap SpeechBrain's lobes (ConvTasNet, dual-path networks) into the model contract of this collection.

    Each item is brought to unit rms and scaled back, so f(a x) = a f(x) and silence gives silence; it is
    extended by zeros until frames cover it, and cut back to its length. The lobes' global norms (gLN, and the
    norms of dual-path networks) see padding and take no lengths. Therefore items of unequal length run in
    groups of equal length, each group cropped to its own length: exact, but a batch whose lengths all differ
    costs as much as its items one by one. Train on crops of one length.

    Arguments
    ---------
    encoder : nn.Module
        [B, T] -> [B, N, L], frames of `kernel_size` samples at every `stride`.
    masknet : nn.Module
        [B, N, L] -> masks [S, B, N, L].
    decoder : nn.Module
        [B, N, L] -> [B, T] (or [T] for one item, as SpeechBrain's does).
    num_sources : int
        Sources S.
    sample_rate : int
        In Hz; kept for those who use the model.
    kernel_size, stride : int
        Of the encoder, in samples; stride is half the kernel by default.
    min_frames : int
        Frames that the mask network needs (reflecting convolutions need more frames than they reflect).
    causal : bool
        What the mask network is; kept for those who use the model.

    Raises
    ------
    UserError
        If the mask network gives another number of sources.

    Example
    -------
    >>> from speechbrain.lobes.models.conv_tasnet import MaskNet
    >>> from speechbrain.lobes.models.dual_path import Decoder, Encoder
    >>> masknet, decoder = MaskNet(32, 8, 16, 3, 2, 1, 2), Decoder(32, 1, 16, stride=8, bias=False)
    >>> model = MaskingSeparator(Encoder(16, 32), masknet, decoder, kernel_size=16, min_frames=3)
    >>> import torch
    >>> model(torch.rand(3, 1000), torch.tensor([1.0, 0.5, 0.5])).shape
    torch.Size([3, 1000, 2])
    """

    def __init__(
        self,
        encoder: nn.Module,
        masknet: nn.Module,
        decoder: nn.Module,
        num_sources: int = 2,
        sample_rate: int = 8000,
        kernel_size: int = 16,
        stride: int | None = None,
        min_frames: int = 1,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.masknet, self.decoder = encoder, masknet, decoder
        self.num_sources, self.sample_rate, self.causal = num_sources, sample_rate, causal
        self.kernel_size, self.stride = kernel_size, stride or kernel_size // 2
        self.min_frames = min_frames

    def forward(self, mix: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Separate.

        Arguments
        ---------
        mix : Tensor
            Mixtures [B, T], any T >= 1.
        lengths : Tensor or None
            Relative lengths in (0, 1], [B]; None: all full.

        Returns
        -------
        Tensor
            Estimates [B, T, S], zeros after an item's end.

        Raises
        ------
        ValueError
            If `mix` is not [B, T] with T >= 1.
        """
        check_mixtures(self, mix)
        n = to_samples(lengths, mix.shape[1], mix.shape[0], mix.device)
        sizes = n.unique().tolist()
        if sizes == [mix.shape[1]]:
            return self._separate(mix)
        estimates = mix.new_zeros(*mix.shape, self.num_sources)
        for size in sizes:
            items = (n == size).nonzero()[:, 0]
            group = self._separate(mix[items, :size])
            estimates = estimates.index_put((items,), F.pad(group, (0, 0, 0, mix.shape[1] - size)))
        return estimates

    def _separate(self, mix: Tensor) -> Tensor:
        """Items of one length: [B, T] -> [B, T, S]."""
        level = item_level(mix)  # [B, 1]
        x = self.encoder(self._extend(to_unit_level(mix, level)))  # [B, N, L]
        masks = self.masknet(x)  # [S, B, N, L]
        if masks.shape[0] != self.num_sources:
            raise UserError(
                f"MaskingSeparator: expected {self.num_sources} masks, the mask network gives {masks.shape[0]}; "
                "set its number of sources to num_sources"
            )
        y = self.decoder((masks * x).flatten(0, 1)).reshape(self.num_sources, mix.shape[0], -1)  # [S, B, T']
        return y[..., : mix.shape[1]].permute(1, 2, 0) * level[:, :, None]  # [B, T, S]

    def _extend(self, x: Tensor) -> Tensor:
        """Add zeros until whole frames, and enough of them, cover every sample."""
        frames = max(-(-(x.shape[1] - self.kernel_size) // self.stride) + 1, self.min_frames)
        return F.pad(x, (0, (frames - 1) * self.stride + self.kernel_size - x.shape[1]))
