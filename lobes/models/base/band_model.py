"""Models on frequency bands: the band split and the compression of magnitudes. B batch, L frames, F bins, S sources."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lobes.errors import UserError
from lobes.models.base.envelope import SpectralModel
from lobes.nnet.bands import band_widths
from lobes.nnet.memory import Memory
from lobes.nnet.power import to_power
from lobes.nnet.precision import at_least_fp32, no_autocast


class BandModel(SpectralModel):
    """A spectral model whose network works on bands of a spectrum with compressed magnitudes.

    A subclass writes the network as its method `estimate_compressed` and reads the bins of each band in `widths`.

    Arguments
    ---------
    split, n_bands
        As in `lobes.nnet.bands.band_widths`.
    compress : float
        Exponent of the magnitudes that the network sees, with unchanged phase; 1 is no compression.
    **spectral
        As in `lobes.models.base.envelope.SpectralModel`.

    Raises
    ------
    UserError
        If there is no such split, or `compress` is not in (0, 1].
    """

    def __init__(self, split: str = "fixed", n_bands: int = 31, compress: float = 1.0, **spectral: Any) -> None:
        super().__init__(**spectral)
        if not 0 < compress <= 1:
            raise UserError(f"compress: expected a power in (0, 1], got {compress}; 1 is no compression")
        self.compress = compress
        self.widths = band_widths(split, self.stft.n_fft // 2 + 1, self.sample_rate, n_bands)

    def estimate_compressed(self, spectrum: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Do what `estimate` does, from and to compressed spectra."""
        raise NotImplementedError

    def estimate(self, spectrum: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        with no_autocast(spectrum):
            spectrum = to_power(at_least_fp32(spectrum), self.compress, 1)
        chunk = () if memory is None else (memory,)
        spectra = self.estimate_compressed(spectrum, frames, *chunk)  # [B, S, 2, L, F]
        with no_autocast(spectrum):
            return to_power(at_least_fp32(spectra), 1 / self.compress, 2)
