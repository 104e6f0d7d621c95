"""Losses between spectra: the compressed-spectrum recipe of MP-SENet and SEMamba, and the published recipe of BSRNN.

Spectra are real and imaginary parts [B, 2, L, F] whose magnitudes are already raised to a power ("compressed"), at the
level of a mixture with unit rms. B batch, T samples, L frames, F bins.

Sources: Lu et al. 2023, arXiv:2305.13686, eq. 5-11; Chao et al. 2024, arXiv:2405.06573.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lobes.nnet.precision import no_autocast
from lobes.objectives.common import full_precision

# Weights of MP-SENet and SEMamba; the metric discriminator's part is added where there is one.
WEIGHTS = {"magnitude": 0.9, "phase": 0.3, "complex": 0.1, "time": 0.2, "consistency": 0.1}
QUIET = 1e-6  # squared magnitude below which a bin has no phase worth learning
TINY = 1e-12


def compressed_spectrum_loss(
    estimate: Tensor,
    target: Tensor,
    resynthesised: Tensor,
    wave: Tensor,
    target_wave: Tensor,
    frames: Tensor | None = None,
    lengths: Tensor | None = None,
    weights: Mapping[str, float] = WEIGHTS,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each item, and its parts before weighting.

    Arguments
    ---------
    estimate, target : Tensor
        Compressed spectra [B, 2, L, F].
    resynthesised : Tensor
        Compressed spectrum of the estimate's waveform [B, 2, L, F].
    wave, target_wave : Tensor
        Waveforms [B, T], zeros after an item's end.
    frames : Tensor or None
        Valid frames per item, Long [B]; None: all.
    lengths : Tensor or None
        Relative lengths of the waveforms in (0, 1], [B]; None: all full.
    weights : mapping
        Part -> weight; parts of weight 0 are left out.

    Returns
    -------
    tuple of Tensor [B] and dict of str to Tensor [B]

    Example
    -------
    >>> spectra, waves = torch.rand(3, 2, 2, 5, 9), torch.rand(2, 2, 600)
    >>> loss, parts = compressed_spectrum_loss(*spectra, *waves)
    >>> loss.shape, sorted(parts)
    (torch.Size([2]), ['complex', 'consistency', 'magnitude', 'phase', 'time'])
    """
    with no_autocast(estimate):
        share = 1.0 if lengths is None else lengths.to(wave.device, non_blocking=True)
        functions = {
            "magnitude": lambda: mean_over((magnitude(estimate) - magnitude(target)).square(), frames),
            "phase": lambda: phase_loss(estimate, target, frames),
            "complex": lambda: mean_over((estimate - target).square().sum(1), frames),
            "time": lambda: (wave - target_wave).abs().mean(1) / share,
            "consistency": lambda: mean_over((estimate - resynthesised).square().sum(1), frames),
        }
        parts = {name: functions[name]() for name, weight in weights.items() if weight}
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum(0)
        return total, parts


def published_loss(estimate: Tensor, target: Tensor, power: float = 0.3, frames: Tensor | None = None) -> Tensor:
    """The loss of the open BSRNN: half the mean |E - C|, half the mean difference of |E|^0.3 and |C|^0.3: [B].

    Spectra are [B, 2, L, F], not compressed; `power` is that of the second half. `frames` are valid frames per item,
    Long [B]; None: all.

    Example
    -------
    >>> published_loss(torch.rand(2, 2, 5, 9), torch.rand(2, 2, 5, 9)).shape
    torch.Size([2])
    """
    with no_autocast(estimate):
        estimate, target = full_precision(estimate, target)
        # the epsilon of 1e-10 on magnitudes, of the published code, under the root: finite slopes in fp32 only
        powers = [(x.square().sum(1) + 1e-10) ** (power / 2) for x in (estimate, target)]
        return 0.5 * mean_over(magnitude(estimate - target), frames) + 0.5 * mean_over(
            (powers[0] - powers[1]).abs(), frames
        )


def phase_loss(estimate: Tensor, target: Tensor, frames: Tensor | None = None) -> Tensor:
    """Anti-wrapped errors of the phase, of its slope over frequency (group delay) and over time: their sum [B].

    Bins where either spectrum is quiet count as right: their phase is noise, and its gradient unbounded.

    Example
    -------
    >>> x = torch.randn(2, 2, 5, 9)
    >>> torch.allclose(phase_loss(x, 3 * x), torch.zeros(2), atol=1e-5)
    True
    """
    clear = (estimate.square().sum(1) > QUIET) & (target.square().sum(1) > QUIET)  # [B, L, F]

    def phase(parts: Tensor) -> Tensor:
        return torch.atan2(torch.where(clear, parts[:, 1], 0), torch.where(clear, parts[:, 0], 1))

    error = phase(estimate) - phase(target)
    both_bins, both_frames = clear[..., 1:] & clear[..., :-1], clear[:, 1:] & clear[:, :-1]
    delay = torch.where(both_bins, error.diff(dim=2), 0)
    frequency = torch.where(both_frames, error.diff(dim=1), 0)
    later = None if frames is None else (frames - 1).clamp(min=1)
    parts = [mean_over(unwrapped(error), frames), mean_over(unwrapped(delay), frames)]
    return sum(parts, mean_over(unwrapped(frequency), later) if frequency.shape[1] else 0 * parts[0])


def unwrapped(angle: Tensor) -> Tensor:
    """Distance of an angle from the nearest multiple of 2 pi.

    Example
    -------
    >>> unwrapped(torch.tensor([0.0, 6.2831855, 3.0])).round(decimals=4)
    tensor([0., 0., 3.])
    """
    return (angle - 2 * math.pi * (angle / (2 * math.pi)).round()).abs()


def magnitude(parts: Tensor) -> Tensor:
    """Magnitudes [B, L, F] of [B, 2, L, F], with a gradient of zero at zero."""
    return parts.square().sum(1).clamp(min=TINY).sqrt()


def mean_over(x: Tensor, frames: Tensor | None) -> Tensor:
    """Mean of `x` [B, L, F] over the valid frames of each item: [B]."""
    if frames is None:
        return x.mean((1, 2))
    valid = torch.arange(x.shape[1], device=x.device) < frames[:, None]  # [B, L]
    return torch.where(valid[..., None], x, 0).sum((1, 2)) / (frames * x.shape[2])
