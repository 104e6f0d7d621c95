"""Complex spectral mapping on a grid of frames and bins: what SPMamba and TF-GridNet share.

B batch, T samples, L frames, F bins, D channels, S sources.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lobes.models.base.contract import check_mixtures, run_layer, samples_unless_full
from lobes.nnet.lengths import zero_padding
from lobes.nnet.level import item_level, to_unit_level
from lobes.nnet.norms import MaskedGroupNorm
from lobes.nnet.stft import STFT


class GridNet(nn.Module):
    """The model contract around blocks on [B, L, F, D].

    Silence gives silence, any T >= 1 works, and `lengths` are honoured in the level, the STFT, the norms, the sequence
    models and the attention, so that a padded item equals the item alone.

    Arguments
    ---------
    num_sources : int
        Sources S.
    sample_rate : int
        In Hz; kept for those who use the model.
    n_fft, hop_length : int
        STFT window and hop in samples.
    n_layers : int
        Number of blocks.
    emb_dim : int
        Channels D.
    block : callable
        Makes a block, which maps [B, L, F, D] and valid frames (Long [B] or None) to [B, L, F, D], from F.
    gradient_checkpointing : bool
        Recompute each block in the backward pass: less memory, about a third more time.
    """

    causal = False

    def __init__(
        self,
        num_sources: int,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        n_layers: int,
        emb_dim: int,
        block: Callable[[int], nn.Module],
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.num_sources, self.sample_rate = num_sources, sample_rate
        self.gradient_checkpointing = gradient_checkpointing
        self.stft = STFT(n_fft, hop_length)
        self.conv = nn.Sequential(nn.Conv2d(2, emb_dim, 3, padding=1), MaskedGroupNorm(emb_dim))
        self.blocks = nn.ModuleList(block(n_fft // 2 + 1) for _ in range(n_layers))
        self.deconv = nn.ConvTranspose2d(emb_dim, 2 * num_sources, 3, padding=1)

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
        return self._separate(mix, samples_unless_full(lengths, mix))

    def _separate(self, mix: Tensor, n: Tensor | None) -> Tensor:
        frames = None if n is None else self.stft.frames(n)
        mix = zero_padding(mix, n)
        level = item_level(mix, n, centred=True)  # [B, 1]
        spectrum = self.stft(to_unit_level(mix, level), n)  # [B, 2, L, F]
        x = self.conv[1](self.conv[0](spectrum), frames)  # [B, D, L, F]
        x = x.permute(0, 2, 3, 1)  # [B, L, F, D]
        for block in self.blocks:
            x = run_layer(block, x, frames, self.gradient_checkpointing)
        x = zero_padding(x, frames).permute(0, 3, 1, 2)  # [B, D, L, F]
        spectra = self.deconv(x).unflatten(1, (self.num_sources, 2)).flatten(0, 1)  # [B*S, 2, L, F]
        each = None if n is None else n.repeat_interleave(self.num_sources)
        estimates = self.stft.inverse(spectra, mix.shape[1], each)  # [B*S, T]
        estimates = estimates.unflatten(0, (-1, self.num_sources)) * level[:, :, None]  # [B, S, T]
        return estimates.transpose(1, 2)  # [B, T, S]
