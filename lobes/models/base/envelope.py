"""The envelope of all models on spectra, from waveform to waveform: level, STFT, `estimate`, inverse STFT, level.

B batch, T samples, L frames, F bins, S sources.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.base.contract import check_mixtures, check_streams, samples_unless_full
from lobes.models.base.stream import SpectralStream
from lobes.nnet.lengths import derived, zero_padding
from lobes.nnet.level import item_level, to_unit_level
from lobes.nnet.precision import at_least_fp32
from lobes.nnet.stft import STFT

LEVELS = ("item", "none")


class Details(NamedTuple):
    """Estimates of a batch together with what a loss on spectra needs."""

    estimates: Tensor  # [B, T, S]
    spectra: Tensor  # [B, S, 2, L, F], of the estimates divided by the level
    level: Tensor  # [B, 1], the divisor of each mixture
    samples: Tensor | None  # valid samples, Long [B]; None: all
    frames: Tensor | None  # valid frames, Long [B]; None: all


class SpectralModel(nn.Module):
    """The model contract around a network on spectra; a subclass writes the network as its method `estimate`.

    Each item is divided by its level and its estimates are multiplied by it, so f(a x) = a f(x), and silence gives
    silence. A causal model cannot know the level of an item in advance: it takes the spectrum as it is and relies on
    its norms, as every model does with `level="none"`. `lengths` are honoured in the level, the STFT and (through
    `frames`) the network, so that a padded item equals the item alone.

    Arguments
    ---------
    num_sources : int
        Sources S; 1 for enhancement.
    sample_rate : int
        In Hz. Stored as an attribute; only the band split of some networks uses it.
    n_fft, hop_length : int
        STFT window and hop in samples.
    causal : bool
        Whether `estimate` uses no later frame.
    gradient_checkpointing : bool
        Recompute each layer in the backward pass: less memory, about a third more time.
    level : str
        "item": f(a x) = a f(x), as above. "none": the network sees the waveform as it is, as some published ones do;
        its output then depends on the level through the epsilons of its norms.

    Raises
    ------
    UserError
        For another `level`, and sizes that the STFT does not take.
    """

    centred_level = False  # True: the level is the standard deviation; False: the rms
    streams = False  # whether `estimate` takes a memory when the model is causal

    def __init__(
        self,
        num_sources: int = 1,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 128,
        causal: bool = False,
        gradient_checkpointing: bool = False,
        level: str = "item",
    ) -> None:
        super().__init__()
        if level not in LEVELS:
            raise UserError(f"level: expected {' or '.join(LEVELS)}, got {level!r}")
        self.num_sources, self.sample_rate, self.causal = num_sources, sample_rate, causal
        self.gradient_checkpointing = gradient_checkpointing
        self.level = level
        self.stft = STFT(n_fft, hop_length)

    @property
    def lookahead(self) -> int | None:
        """Number of future samples that an output sample may depend on; None: all."""
        return self.stft.n_fft - 1 if self.causal else None

    def stream(self) -> SpectralStream:
        """Start a stream, in which signals come in chunks; the model must be causal and in evaluation mode.

        Raises
        ------
        UserError
            If the model looks at later frames, or is in training mode.
        """
        check_streams(self, self.streams)
        return SpectralStream(self)

    def estimate(self, spectrum: Tensor, frames: Tensor | None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        raise NotImplementedError

    def forward(self, mix: Tensor, lengths: Tensor | None = None, details: bool = False) -> Tensor | Details:
        """Enhance or separate.

        Arguments
        ---------
        mix : Tensor
            Mixtures [B, T], any T >= 1.
        lengths : Tensor or None
            Relative lengths in (0, 1], [B]; None: all full.
        details : bool
            Also return the spectra, as `Details`. An argument rather than a second method: DistributedDataParallel
            only wraps `forward`.

        Returns
        -------
        Tensor or Details
            Estimates [B, T, S], zeros after an item's end.

        Raises
        ------
        ValueError
            If `mix` is not [B, T] with T >= 1.
        """
        check_mixtures(self, mix)
        samples = samples_unless_full(lengths, mix)  # [B]
        frames = None if samples is None else derived(samples, self.stft.frames)  # [B]
        mix = zero_padding(mix, samples)
        level = self._level(mix, samples)  # [B, 1]
        # divided after the STFT, which is in fp64: rounded samples would fill the bands that a tone leaves empty, and a
        # norm over one band would make that as loud as speech
        spectrum = to_unit_level(self.stft(mix, samples), level[:, :, None, None])  # [B, 2, L, F]
        spectra = self.spectra(spectrum, frames)  # [B, S, 2, L, F]
        each = None if samples is None else samples.repeat_interleave(self.num_sources)  # [B S]
        estimates = self.stft.inverse(spectra.flatten(0, 1), mix.shape[1], each)  # [B S, T]
        estimates = estimates.unflatten(0, (-1, self.num_sources)) * level[:, :, None]  # [B, S, T]
        estimates = estimates.transpose(1, 2)  # [B, T, S]
        return Details(estimates, spectra, level, samples, frames) if details else estimates

    def _level(self, mix: Tensor, samples: Tensor | None) -> Tensor:
        as_it_is = self.causal or self.level == "none"
        return mix.new_ones(mix.shape[0], 1) if as_it_is else item_level(mix, samples, self.centred_level)

    def enhance(self, mix: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the first estimate [B, T] of `mix` [B, T]."""
        return self(mix, lengths)[..., 0]

    def spectra(self, spectrum: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run the network on spectra, complex [B, L, F] or real and imaginary part [B, 2, L, F].

        The result has the form of the input: complex [B, S, L, F], or [B, S, 2, L, F]. `frames` are valid frames per
        item, Long [B]; None: all.
        """
        if not spectrum.is_complex():
            return at_least_fp32(self.estimate(spectrum, frames))  # [B, S, 2, L, F]
        parts = torch.view_as_real(spectrum).movedim(-1, 1)  # [B, 2, L, F]
        return torch.view_as_complex(self.spectra(parts, frames).movedim(2, -1).contiguous())  # [B, S, L, F]
