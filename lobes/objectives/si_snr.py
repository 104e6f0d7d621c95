"""Scale-invariant signal-to-noise ratio over the valid samples. Legend: B batch, T samples, S sources."""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.nnet.precision import no_autocast
from lobes.objectives.common import check_shapes, full_precision, valid_samples

FLOOR_DB = -60.0  # an estimate that holds nothing of the target, or that is silent
CEILING_DB = 100.0  # an estimate that equals the target; fp32 rounding alone would stop near 140
FLOOR, CEILING = 10 ** (FLOOR_DB / 10), 10 ** (-CEILING_DB / 10)
CONSTANT = 1e-10  # share of the energy that rounding may leave of a constant signal after its mean is removed
SILENT = 1e-15  # peak of what counts as silence, 300 dB below full scale
SILENT_BESIDE = 1e-10  # an estimate that far below its target is silent too: the gradient is ~1/|estimate|


def si_snr(estimates: Tensor, targets: Tensor, lengths: Tensor | None = None, zero_mean: bool = True) -> Tensor:
    """SI-SNR of each estimate against the target in the same place, in dB with its natural sign.

    The ratio of the energy of the estimate's projection on the target to the energy of the rest. Both
    signals are scaled to unit energy first, so the value does not depend on the level of either. It bends
    softly to -60 dB below and 100 dB above (by 0.004 dB at -30, by less than 0.001 from -20 to 60), which
    bounds the gradient by about 4000 / |estimate|. A silent estimate (zero, constant, 200 dB below the
    target or 300 dB below full scale) and a silent target both give -60 dB and a gradient of zero: a
    measure of direction has none to offer there. The separation loss has a rule of its own for silent
    targets.

    Arguments
    ---------
    estimates, targets : Tensor [B,T,S]
        Any float type; computed in fp32 under any autocast, in fp64 where one of them is fp64.
    lengths : Tensor [B], optional
        Relative lengths in (0, 1]. Samples beyond are never looked at, whatever they hold.
    zero_mean : bool
        Remove the mean over the valid samples of both signals first.

    Returns
    -------
    Tensor [B,S], in dB. Not finite where an estimate or a target is not finite.

    Raises
    ------
    UserError
        Where the shapes differ.

    Example
    -------
    >>> target = torch.sin(torch.arange(8000.0))[None, :, None]
    >>> estimate = 1e-6 * (target + 0.1 * torch.cos(torch.arange(8000.0))[None, :, None])
    >>> si_snr(estimate, target).shape, round(si_snr(estimate, target).item())
    (torch.Size([1, 1]), 20)

    Source: Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 3-5 (as SI-SDR).
    """
    check_shapes(estimates, targets, lengths)
    with no_autocast(estimates):
        estimates, targets = full_precision(estimates, targets)
        valid = valid_samples(lengths, estimates.shape[1], estimates)
        signal, noise = energy_shares(estimates, targets, valid, zero_mean)
        return 10 * torch.log10((signal + FLOOR) / (noise + CEILING))


def energy_shares(estimates: Tensor, targets: Tensor, valid: Tensor, zero_mean: bool = True) -> tuple[Tensor, Tensor]:
    """Split the estimate's energy, taken as one, into the part along the target and the rest: two [B,S].

    A silent estimate or target gives (0, 1). `valid` is [B,T,1]; inputs [B,T,S] in full precision.
    """
    estimate, estimate_peak = unit_energy(estimates, valid, zero_mean)
    target, target_peak = unit_energy(targets, valid, zero_mean)
    silent_peak = (SILENT_BESIDE * target_peak).clamp(min=SILENT)
    estimate = estimate.masked_fill(estimate_peak <= silent_peak, 0.0)
    cosine = (estimate * target).sum(1, keepdim=True)  # [B,1,S]
    noise = (estimate - cosine * target).square().sum(1)
    silent = (estimate.detach() == 0).all(1)
    return cosine.squeeze(1).square(), noise + silent


def unit_energy(x: Tensor, valid: Tensor, zero_mean: bool = True) -> tuple[Tensor, Tensor]:
    """Scale each signal to zero mean and unit energy over its valid samples; silence gives zeros.

    Returns the signals [B,T,S] and their peaks [B,1,S]. Dividing by the peak first keeps the energy of
    signals at 1e-30 or 1e30 within fp32.
    """
    x = x.masked_fill(~valid, 0.0)
    peak = x.detach().abs().amax(1, keepdim=True)  # [B,1,S]
    x = x / torch.where(peak == 0, 1.0, peak)
    before = x.detach().square().sum(1, keepdim=True)
    if zero_mean:
        mean = x.sum(1, keepdim=True) / valid.sum(1, keepdim=True)
        x = (x - mean).masked_fill(~valid, 0.0)
    energy = x.square().sum(1, keepdim=True)
    silent = energy.detach() <= CONSTANT * before
    scale = torch.where(silent, 1.0, energy).rsqrt()
    return (x * scale).masked_fill(silent, 0.0), peak
