"""The training loss for separation: permutation invariant, bounded, with a rule for silent targets.

Legend: B batch, T samples, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lobes.errors import UserError
from lobes.nnet.precision import no_autocast
from lobes.objectives.common import check_shapes, full_precision, valid_samples
from lobes.objectives.criteria import CRITERIA, Criterion
from lobes.objectives.pit import best_permutation, reorder
from lobes.objectives.resolutions import spectral_difference
from lobes.objectives.si_snr import CEILING, FLOOR, SILENT

OPTIONS = ("loss", "clamp_db", "level_weight", "spectral_weight", "consistency_weight")  # keys of the recipes
SILENT_SHARE = 1e-6  # a target 60 dB below the mixture, or zero, is silent


def separation_loss(
    estimates: Tensor,
    targets: Tensor,
    lengths: Tensor | None = None,
    mix: Tensor | None = None,
    clamp_db: float = 30.0,
    level_weight: float = 0.0,
    loss: str = "si_snr",
    spectral_weight: float = 0.0,
    consistency_weight: float = 0.0,
) -> Tensor:
    """Mean over the sources of minus the SI-SNR, SNR or SDR, bounded at -`clamp_db`, under the best permutation.

    With tau = 10^(-clamp_db / 10), and p, r the estimate's energy along the target and across it (SI-SNR); or 1 and the
    energy of the error over that of the target (SNR); or the estimate's energy that a filter of 512 taps makes of the
    target, and the rest (SDR):

    - an active target gives 10 log10((r + tau p) / p). A perfect estimate gives -clamp_db; the gradient is
      half as strong at clamp_db and fades above, so that items already solved cannot outweigh the others.
      SI-SNR and SDR never exceed 60 dB (a silent estimate); a silent estimate has an SNR of 0 dB.
    - a silent target (60 dB or more below the mixture, or zero) gives 10 log10(|estimate|^2 / |mix|^2 + tau):
      from -clamp_db for a silent estimate to 0 for the mixture itself, with a gradient that pulls the
      estimate down.
    - where the mixture is silent as well, the loss and its gradient are zero: there is nothing to learn.

    The permutation is chosen by these same values, so a silent target takes the quietest estimate; it is the best of
    all for any number of sources. SI-SNR and SDR do not depend on the level of an estimate next to an active target;
    the SNR and the further terms do.

    Arguments
    ---------
    estimates, targets : Tensor [B,T,S]
        Any float type; computed in fp32 (fp64 for fp64) under any autocast. Neither is written to.
    lengths : Tensor [B], optional
        Relative lengths in (0, 1]; samples beyond are never looked at.
    mix : Tensor [B,T], optional
        The mixture, the measure of silence. Without it the sum of the targets stands in.
    clamp_db : float
        The bound in dB, above 0; `math.inf` leaves the SI-SNR as it is.
    level_weight : float
        What each dB costs by which the energy of an estimate differs from that of its active target; from 0.
    loss : str
        "si_snr", "snr" or "sdr".
    spectral_weight : float
        Of `lobes.objectives.resolutions.spectral_difference` to an active target; from 0.
    consistency_weight : float
        Of minus the SNR in dB, bounded likewise, of the sum of the estimates against the sum of the targets, which is
        the mixture where it holds nothing else; from 0.

    Returns
    -------
    Tensor [B], lower is better. Not finite where an estimate is not finite.

    Raises
    ------
    UserError
        Where shapes differ, `clamp_db` is not above 0, a weight is below 0 or there is no such loss.

    Example
    -------
    >>> targets = torch.randn(4, 800, 2)
    >>> loss = separation_loss(targets.flip(-1), targets)
    >>> loss.shape, round(loss[0].item(), 2)
    (torch.Size([4]), -30.0)
    >>> round(separation_loss(0.9 * targets, targets, loss="snr")[0].item(), 1)
    -19.6

    Source: Wisdom et al. 2021, "What's all the fuss about free universal sound separation data?", eq. 1 and 2
    (SNR with a soft threshold, log of the energy for zero references), here with the scale-invariant
    projection and the energy taken relative to the mixture. Wisdom et al. 2019, "Differentiable consistency constraints
    for improved deep speech enhancement" (the sum of the estimates).
    """
    weights = {"level": level_weight, "spectral": spectral_weight, "consistency": consistency_weight}
    _check(estimates, targets, lengths, mix, clamp_db, weights)
    criterion = _criterion(loss)
    tau = 10 ** (-clamp_db / 10)
    with no_autocast(estimates):
        estimates, targets = full_precision(estimates, targets)
        valid = valid_samples(lengths, estimates.shape[1], estimates)
        mixture = targets.detach().sum(2) if mix is None else mix.detach().to(targets.dtype)
        estimates, targets, mixture = _at_mixture_level(estimates, targets, mixture, valid)
        energy = mixture.square().sum(1)  # [B,1]
        active = (_centred_energy(targets, valid) > SILENT_SHARE * energy) & (energy > 0)  # [B,S]
        with torch.no_grad():
            quiet = _silent_loss(estimates, energy, tau)[:, :, None]
            pairs = torch.where(
                active[:, None, :], _active_loss(*criterion.pairs(estimates, targets, valid), tau), quiet
            )
            permutation = best_permutation(-pairs)
        chosen = reorder(estimates, permutation)
        heard = _active_loss(*criterion.chosen(chosen, targets, valid), tau)
        if level_weight:
            heard = heard + level_weight * _level_difference(chosen, targets, energy)
        if spectral_weight:
            heard = heard + spectral_weight * spectral_difference(chosen, targets, valid)
        value = torch.where(active, heard, _silent_loss(chosen, energy, tau)).mean(1)
        if consistency_weight:
            value = value + consistency_weight * _inconsistency(estimates, targets, tau)
        return value


def _check(
    estimates: Tensor,
    targets: Tensor,
    lengths: Tensor | None,
    mix: Tensor | None,
    clamp_db: float,
    weights: Mapping[str, float],
) -> None:
    check_shapes(estimates, targets, lengths)
    if mix is not None and mix.shape != estimates.shape[:2]:
        raise UserError(f"Expected a mixture of shape {tuple(estimates.shape[:2])}, got {tuple(mix.shape)}.")
    if not clamp_db > 0:
        raise UserError(f"Expected clamp_db above 0 (30 is usual), got {clamp_db}. Change the loss clamp in the YAML.")
    for name, weight in weights.items():
        if not weight >= 0:
            raise UserError(f"Expected {name}_weight from 0, got {weight}. Change {name}_weight in the YAML.")


def _criterion(loss: str) -> Criterion:
    if loss not in CRITERIA:
        raise UserError(f"loss: expected {', '.join(CRITERIA)}, got {loss!r}.")
    return CRITERIA[loss]


def _inconsistency(estimates: Tensor, targets: Tensor, tau: float) -> Tensor:
    """Minus the SNR [B] in dB of the sum of estimates [B,T,S] against that of the targets; 0 where that is silent."""
    wanted = targets.sum(2)
    energy = wanted.square().sum(1)
    error = (estimates.sum(2) - wanted).square().sum(1) / torch.where(energy > 0, energy, 1.0)
    return torch.where(energy > 0, 10 * torch.log10(error + tau + CEILING), 0.0)


def _at_mixture_level(
    estimates: Tensor, targets: Tensor, mixture: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale all three so that the mixture peaks at one, or is zero: energies then stay within fp32."""
    mixture = mixture[..., None].masked_fill(~valid, 0.0)  # [B,T,1]
    peak = mixture.abs().amax(1, keepdim=True)
    scale = torch.where(peak <= SILENT, 1.0, peak)  # [B,1,1]
    estimates, targets = (x.masked_fill(~valid, 0.0) / scale for x in (estimates, targets))
    return estimates, targets, mixture.masked_fill(peak <= SILENT, 0.0) / scale


def _centred_energy(x: Tensor, valid: Tensor) -> Tensor:
    mean = x.sum(1, keepdim=True) / valid.sum(1, keepdim=True)
    return (x - mean).masked_fill(~valid, 0.0).square().sum(1)  # [B,S]


def _active_loss(signal: Tensor, noise: Tensor, tau: float) -> Tensor:
    return 10 * torch.log10((noise + tau * signal + CEILING) / (signal + FLOOR))


def _silent_loss(estimates: Tensor, energy: Tensor, tau: float) -> Tensor:
    """Loss [B,S] of estimates [B,T,S] for a silent target; zero where the mixture (energy [B,1]) is, too."""
    heard = energy > 0
    share = estimates.square().sum(1) / torch.where(heard, energy, 1.0)
    return torch.where(heard, 10 * torch.log10(share + tau + CEILING), 0.0)


def _level_difference(estimates: Tensor, targets: Tensor, energy: Tensor) -> Tensor:
    """Difference of the levels [B,S] in dB, without a sign; 60 dB below the mixture is silence."""
    floor = FLOOR * energy + SILENT  # [B,1]
    estimate, target = ((x.square().sum(1) + floor).log10() for x in (estimates, targets))
    return 10 * (estimate - target).abs()
