"""The STFT pair that the open BSRNN is scored with: one hop more at both ends. B batch, T samples, L frames, F bins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.nnet.lengths import zero_padding
from lobes.nnet.stft import STFT, reflect


class ReflectedSTFT(STFT):
    """In evaluation mode, reflect one hop at both ends before the transform, and cut it off after the inverse.

    In training mode it is `STFT`. A signal of at most one hop is extended by zeros before it is reflected. Source:
    the evaluation of github.com/sungwon23/BSRNN.

    Arguments
    ---------
    n_fft, hop_length : int
        As in `STFT`.

    Example
    -------
    >>> stft = ReflectedSTFT(256, 64).eval()
    >>> x = torch.rand(2, 1000)
    >>> stft(x).shape  # two frames more than an STFT
    torch.Size([2, 2, 18, 129])
    >>> torch.allclose(stft.inverse(stft(x), 1000), x, atol=1e-5)
    True
    """

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__(n_fft, hop_length)
        self.plain = STFT(n_fft, hop_length)  # of the longer signals

    def frames(self, samples: Tensor) -> Tensor:
        """Return the number of frames L of signals with so many samples."""
        return self.plain.frames(samples if self.training else self._reflected(samples))

    def forward(self, x: Tensor, samples: Tensor | None = None) -> Tensor:
        """Compute spectra [B, 2, L, F] of signals `x` [B, T] with `samples` valid samples, Long [B]; None: all."""
        if self.training:
            return self.plain(x, samples)
        full = max(x.shape[1], self.hop_length + 1)
        x = F.pad(zero_padding(x, samples), (0, full - x.shape[1]))
        x = reflect(x, torch.tensor(full) if samples is None else self._at_least(samples), self.hop_length)
        return self.plain(x, None if samples is None else self._reflected(samples))

    def inverse(self, parts: Tensor, total: int, samples: Tensor | None = None) -> Tensor:
        """Compute signals [B, T] of `total` samples from spectra [B, 2, L, F], zeros after an item's end."""
        if self.training:
            return self.plain.inverse(parts, total, samples)
        longer = None if samples is None else self._reflected(samples)
        x = self.plain.inverse(parts, max(total, self.hop_length + 1) + 2 * self.hop_length, longer)
        return zero_padding(x[:, self.hop_length : self.hop_length + total], samples)

    def _at_least(self, samples: Tensor) -> Tensor:
        return samples.clamp(min=self.hop_length + 1)

    def _reflected(self, samples: Tensor) -> Tensor:
        return self._at_least(samples) + 2 * self.hop_length
