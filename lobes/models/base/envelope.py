"""What the models on spectra share: waveform in, waveform out, the level, compression, checkpointing.

B batch, T samples, L frames, F bins, S sources.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.base.contract import check_mixtures, samples_unless_full
from lobes.nnet.bands import band_widths
from lobes.nnet.lengths import zero_padding
from lobes.nnet.level import item_level, to_unit_level
from lobes.nnet.power import to_power
from lobes.nnet.precision import at_least_fp32, no_autocast
from lobes.nnet.stft import STFT


class Details(NamedTuple):
    """Estimates of a batch, and what they were made from."""

    estimates: Tensor  # [B, T, S]
    spectra: Tensor  # [B, S, 2, L, F], of the estimates over the level, before the inverse STFT
    level: Tensor  # [B, 1], what the mixture was divided by
    samples: Tensor | None  # valid samples, Long [B]; None: all
    frames: Tensor | None  # valid frames, Long [B]; None: all


class SpectralModel(nn.Module):
    """The model contract around a network that maps a spectrum to spectra, its `estimate`.

    Each item is brought to unit rms and scaled back, so f(a x) = a f(x) and silence gives silence. A causal model
    cannot know an item's level beforehand: it takes the spectrum as it is, and its norms see to the rest.

    Arguments
    ---------
    num_sources : int
        Sources S; 1 for enhancement.
    sample_rate : int
        In Hz; kept for those who use the model.
    n_fft, hop_length : int
        STFT window and hop in samples.
    causal : bool
        Whether `estimate` looks at no later frame.
    compress : float
        Power that `estimate` sees magnitudes to, with the phase as it is; 1 leaves the spectrum alone.
    gradient_checkpointing : bool
        Recompute each layer in the backward pass: less memory, about a third more time.
    split, n_bands
        As in `lobes.nnet.bands.band_widths`; `widths` has the bins of each band.
    """

    def __init__(
        self,
        num_sources: int = 1,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 128,
        causal: bool = False,
        compress: float = 1.0,
        gradient_checkpointing: bool = False,
        split: str = "fixed",
        n_bands: int = 31,
    ) -> None:
        super().__init__()
        if not 0 < compress <= 1:
            raise UserError(f"compress: expected a power in (0, 1], got {compress}; 1 is no compression")
        self.num_sources, self.sample_rate, self.causal = num_sources, sample_rate, causal
        self.compress, self.gradient_checkpointing = compress, gradient_checkpointing
        self.stft = STFT(n_fft, hop_length)
        self.widths = band_widths(split, n_fft // 2 + 1, sample_rate, n_bands)

    @property
    def lookahead(self) -> int | None:
        """Samples that an output sample may depend on in advance; None: all."""
        return self.stft.n_fft - 1 if self.causal else None

    def estimate(self, spectrum: Tensor, frames: Tensor | None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        raise NotImplementedError

    def forward(self, mix: Tensor, lengths: Tensor | None = None, details: bool = False) -> Tensor | Details:
        """Enhance, or separate.

        Arguments
        ---------
        mix : Tensor
            Mixtures [B, T], any T >= 1.
        lengths : Tensor or None
            Relative lengths in (0, 1], [B]; None: all full.
        details : bool
            Return what a loss on spectra needs, too: `Details`. It is an argument, and not only a method, because
            training on several devices sees nothing but this call.

        Returns
        -------
        Tensor or Details
            Estimates [B, T, S], zeros after an item's end.

        Raises
        ------
        ValueError
            If `mix` is not [B, T] with T >= 1.
        """
        made = self.detailed(mix, lengths)
        return made if details else made.estimates

    def detailed(self, mix: Tensor, lengths: Tensor | None = None) -> Details:
        """What a loss on spectra needs beside the estimates; the arguments are those of `forward`."""
        check_mixtures(self, mix)
        n = samples_unless_full(lengths, mix)
        frames = None if n is None else self.stft.frames(n)
        mix = zero_padding(mix, n)
        level = mix.new_ones(mix.shape[0], 1) if self.causal else item_level(mix, n)  # [B, 1]
        spectra = self.spectra(self.stft(to_unit_level(mix, level), n), frames)  # [B, S, 2, L, F]
        each = None if n is None else n.repeat_interleave(self.num_sources)
        estimates = self.stft.inverse(spectra.flatten(0, 1), mix.shape[1], each)  # [B S, T]
        estimates = estimates.unflatten(0, (-1, self.num_sources)) * level[:, :, None]  # [B, S, T]
        return Details(estimates.transpose(1, 2), spectra, level, n, frames)

    def enhance(self, mix: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The first estimate [B, T] of `mix` [B, T]."""
        return self.detailed(mix, lengths).estimates[..., 0]

    def spectra(self, spectrum: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run the network on spectra.

        Arguments
        ---------
        spectrum : Tensor
            Complex [B, L, F], or real and imaginary part [B, 2, L, F].
        frames : Tensor or None
            Valid frames per item, Long [B]; None: all.

        Returns
        -------
        Tensor
            Complex [B, S, L, F], or real and imaginary part [B, S, 2, L, F], as the input.
        """
        if spectrum.is_complex():
            parts = torch.view_as_real(spectrum).movedim(-1, 1)
            return torch.view_as_complex(self.spectra(parts, frames).movedim(2, -1).contiguous())
        with no_autocast(spectrum):
            spectrum = to_power(at_least_fp32(spectrum), self.compress, 1)
        estimates = self.estimate(spectrum, frames)
        with no_autocast(spectrum):
            return to_power(at_least_fp32(estimates), 1 / self.compress, 2)
