"""Masking models in the time domain: encoder, mask network, decoder.

B batch, T samples, N filters, L frames, S sources.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError, did_you_mean
from lobes.models.base.contract import check_mixtures
from lobes.models.base.reinitialise import reinitialise_copies
from lobes.nnet.lengths import to_samples
from lobes.nnet.level import item_level, to_unit_level

LEVELS = ("item", "none")  # of `MaskingSeparator`


class MaskingSeparator(nn.Module):
    """Wrap SpeechBrain's lobes (ConvTasNet, dual-path networks) into the model contract of this collection.

    Each item is scaled to unit rms and scaled back, so f(a x) = a f(x) and silence gives silence. It is extended by
    zeros until whole frames cover it, and cut back to its length; published code has no estimate of the samples after
    the last whole frame. The lobes' global norms (gLN, and the norms of
    dual-path networks) include padding and take no lengths. Therefore items are run in groups of equal length, each
    cropped to that length. This is exact, but a batch whose lengths all differ costs as much as its items one by one:
    train on crops of one length. One pass over the padded batch would not be exact: even where norms look at past
    frames only, how many frames an item has, and so what its last samples are added from, follows from its length.

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
        In Hz. Stored as an attribute; the network does not use it.
    kernel_size, stride : int
        Of the encoder, in samples; stride is half the kernel by default.
    min_frames : int
        Minimum number of frames for the mask network (reflecting convolutions need more frames than they reflect).
    causal : bool
        Whether the mask network is causal, with norms over past frames. A causal model cannot know the level of an item
        in advance: it takes the waveform as it is, and its norms must make the masks independent of the level.
    one_by_one : bool
        Run the items of a batch one by one, for mask networks that mix them (SpeechBrain's RE-SepFormer makes one
        sequence of the memories of all items).
    level : str
        `item`: each item is brought to unit rms and back. `none`: it is used as it is, as in published code; then the
        effect of the norms' eps depends on its level.

    Raises
    ------
    UserError
        For another `level`, or a size that is none. Also if the mask network gives another number of sources, or a
        mixture is too long for its positional encodings.

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
        one_by_one: bool = False,
        level: str = LEVELS[0],
    ) -> None:
        super().__init__()
        if level not in LEVELS:
            raise UserError(f"level: expected {' or '.join(LEVELS)}, got {level!r}.{did_you_mean(str(level), LEVELS)}")
        sizes = {
            "num_sources": num_sources,
            "kernel_size": kernel_size,
            "stride": stride or 1,
            "min_frames": min_frames,
        }
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise UserError(f"{name}: expected a whole number from 1 up, got {size!r}.")
        self.encoder, self.masknet, self.decoder = encoder, masknet, decoder
        self.num_sources, self.sample_rate, self.causal = num_sources, sample_rate, causal
        self.kernel_size, self.stride = kernel_size, stride or kernel_size // 2
        self.min_frames, self.one_by_one, self.level = min_frames, one_by_one, level
        reinitialise_copies(masknet)

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
        self._check_tracing(mix, lengths)
        if lengths is None:
            return self._separate(mix)
        n = to_samples(lengths, mix.shape[1], mix.shape[0]).tolist()  # waits for no device if lengths are on the CPU
        sizes = sorted(set(n))
        if sizes == [mix.shape[1]]:
            return self._separate(mix)
        estimates = mix.new_zeros(*mix.shape, self.num_sources)
        for size in sizes:
            items = torch.tensor([i for i, samples in enumerate(n) if samples == size])
            items = items.to(mix.device, non_blocking=True)
            group = self._separate(mix[items, :size])
            estimates = estimates.index_put((items,), F.pad(group, (0, 0, 0, mix.shape[1] - size)))
        return estimates

    def _check_tracing(self, mix: Tensor, lengths: Tensor | None) -> None:
        """Refuse what `torch.jit.trace` would keep as it is in the example: groups of items, least number of frames."""
        enough = int(mix.shape[1]) > self.kernel_size + (self.min_frames - 1) * self.stride
        if torch.jit.is_tracing() and (lengths is not None or self.one_by_one or not enough):
            raise UserError(
                "torch.jit.trace can follow this network for mixtures of more than "
                f"{self.kernel_size + (self.min_frames - 1) * self.stride} samples, without lengths and without "
                "one_by_one; torch.export.export takes any, for one length at a time"
            )

    def _separate(self, mix: Tensor) -> Tensor:
        """Items of one length: [B, T] -> [B, T, S]."""
        as_it_is = self.causal or self.level == "none"
        level = mix.new_ones(mix.shape[0], 1) if as_it_is else item_level(mix)  # [B, 1]
        x = self.encoder(self._extend(to_unit_level(mix, level)))  # [B, N, L]
        self._check_positions(x.shape[2])
        masks = self._masks(x)  # [S, B, N, L]
        if masks.shape[0] != self.num_sources:
            raise UserError(
                f"MaskingSeparator: expected {self.num_sources} masks, the mask network gives {masks.shape[0]}; "
                "set its number of sources to num_sources"
            )
        return self.decode(masks, x)[:, : mix.shape[1]] * level[:, :, None]  # [B, T, S]

    def decode(self, masks: Tensor, x: Tensor) -> Tensor:
        """Mask the encoded mixtures `x` [B, N, L] by `masks` [S, B, N, L] and decode them to [B, T, S]."""
        y = self.decoder((masks * x).flatten(0, 1)).reshape(masks.shape[0], x.shape[0], -1)  # [S, B, T]
        return y.permute(1, 2, 0)

    def _masks(self, x: Tensor) -> Tensor:
        if not self.one_by_one or len(x) <= 1:
            return self.masknet(x)
        return torch.cat([self.masknet(item) for item in x.split(1)], dim=1)

    def _check_positions(self, frames: int) -> None:
        """Refuse mixtures that are longer than SpeechBrain's positional encodings, a table of 2,500 chunks."""
        longest = longest_input(self.masknet)
        if longest is not None and frames > longest:
            seconds = longest * self.stride / self.sample_rate
            raise UserError(
                f"expected mixtures of at most {seconds:.0f} s, which is how far the positional encodings of this "
                f"network reach, got {frames * self.stride / self.sample_rate:.0f} s. Cut the recording into shorter "
                "pieces, or take a network without positional encodings across chunks (DPRNN, ConvTasNet, SPMamba)."
            )

    def _extend(self, x: Tensor) -> Tensor:
        """Add zeros until whole frames, and enough of them, cover every sample."""
        frames = max(-(-(x.shape[1] - self.kernel_size) // self.stride) + 1, self.min_frames)
        return F.pad(x, (0, (frames - 1) * self.stride + self.kernel_size - x.shape[1]))


def longest_input(masknet: nn.Module) -> int | None:
    """Return the largest number of frames that a dual-path network of SpeechBrain takes; None: any number.

    Its chunks of K frames overlap by half, and each has a position in a table of limited size.

    Example
    -------
    >>> from speechbrain.lobes.models.dual_path import Dual_Path_Model, SBTransformerBlock
    >>> block = SBTransformerBlock(1, 16, 2, d_ffn=8, use_positional_encoding=True)
    >>> longest_input(Dual_Path_Model(16, 16, block, block, K=10))
    12494
    """
    network: Any = masknet
    encodings = [getattr(block.inter_mdl, "pos_enc", None) for block in getattr(network, "dual_mdl", ())]
    tables, chunk = [encoding.pe.shape[1] for encoding in encodings if encoding is not None], getattr(network, "K", 0)
    # the frames, at least one of padding, and half a chunk are cut twice into whole chunks
    return min(tables) // 2 * chunk - chunk // 2 - 1 if tables else None


class SequenceFirst(nn.Module):
    """Run a block that works along the first dimension on sequences that lie along the second.

    SpeechBrain's `DPTNetBlock` is documented for [B, L, N], but its attention and its LSTM run along the first
    dimension: used as documented it mixes the items of a batch instead of the steps of a sequence.

    Arguments
    ---------
    block : nn.Module
        [L, B, N] -> [L, B, N].

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.models.dual_path import DPTNetBlock
    >>> SequenceFirst(DPTNetBlock(16, nhead=4))(torch.rand(3, 10, 16)).shape
    torch.Size([3, 10, 16])
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Run the block over `x` [B, L, N]."""
        return self.block(x.transpose(0, 1)).transpose(0, 1)
