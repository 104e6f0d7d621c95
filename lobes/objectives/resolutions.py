"""Differences between the magnitudes of spectra at several resolutions.

B batch, T samples, S sources, L frames, F bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.objectives.spectrum import mean_over

SIZES = (256, 512, 1024)  # samples of a window; the hop is a quarter of it
FLOOR = 1e-8  # of a window's energy: the power of a bin that counts as silent, where the mixture peaks at 1


def spectral_difference(estimates: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Spectral convergence and the mean difference of log magnitudes, averaged over three resolutions: [B,S].

    The first, |E| - |T| relative to |T|, weighs loud bins; the second, log |E| - log |T| (natural), weighs all alike.
    The level counts in both. Bins 80 dB below the mixture's peak count as silent.

    Arguments
    ---------
    estimates, targets : Tensor [B,T,S]
        In full precision, with zeros where samples do not count, at the level at which the mixture peaks at 1.
    valid : Tensor [B,T,1]
        The samples that count.

    Example
    -------
    >>> x, valid = torch.randn(2, 4000, 3), torch.ones(2, 4000, 1, dtype=torch.bool)
    >>> bool(spectral_difference(x, x, valid).abs().max() < 1e-5), spectral_difference(2 * x, x, valid).shape
    (True, torch.Size([2, 3]))

    Source: Yamamoto et al. 2020, "Parallel WaveGAN", eq. 3-6 (multi-resolution STFT loss).
    """
    sources, samples = estimates.shape[-1], valid.sum((1, 2)).repeat_interleave(estimates.shape[-1])
    parts = []
    for size in SIZES:
        frames = -(-samples // (size // 4))  # those whose centres count
        estimate, target = (_magnitudes(x, size) for x in (estimates, targets))  # [B*S,L,F]
        power = mean_over(target.square(), frames)
        convergence = (mean_over((estimate - target).square(), frames) / power + 1e-12).sqrt()
        parts.append(convergence + mean_over((estimate.log() - target.log()).abs(), frames))
    return torch.stack(parts).mean(0).unflatten(0, (-1, sources))


def _magnitudes(x: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    signals = x.transpose(1, 2).flatten(0, 1)  # [B*S,T]
    spectra = torch.stft(signals, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    power = torch.view_as_real(spectra).square().sum(-1).transpose(1, 2)  # [B*S,L,F]
    return power.clamp(min=FLOOR * window.square().sum()).sqrt()
