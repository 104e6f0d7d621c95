"""The training loss for separation: permutation invariant, bounded, with a rule for silent targets.

Legend: B batch, T samples, S sources.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.errors import UserError
from lobes.nnet.precision import no_autocast
from lobes.objectives.common import check_shapes, full_precision, valid_samples
from lobes.objectives.pit import best_permutation, pairwise_shares, reorder
from lobes.objectives.si_snr import CEILING, FLOOR, SILENT, energy_shares

SILENT_SHARE = 1e-6  # a target 60 dB below the mixture, or zero, is silent


def separation_loss(
    estimates: Tensor,
    targets: Tensor,
    lengths: Tensor | None = None,
    mix: Tensor | None = None,
    clamp_db: float = 30.0,
    level_weight: float = 0.0,
) -> Tensor:
    """Mean over the sources of minus the SI-SNR, bounded at -`clamp_db`, under the best permutation.

    With tau = 10^(-clamp_db / 10), and p, r the estimate's energy along the target and across it:

    - an active target gives 10 log10((r + tau p) / p). A perfect estimate gives -clamp_db; the gradient is
      half as strong at clamp_db and fades above, so that items already solved cannot outweigh the others.
      It never exceeds 60 dB (a silent estimate).
    - a silent target (60 dB or more below the mixture, or zero) gives 10 log10(|estimate|^2 / |mix|^2 + tau):
      from -clamp_db for a silent estimate to 0 for the mixture itself, with a gradient that pulls the
      estimate down.
    - where the mixture is silent as well, the loss and its gradient are zero: there is nothing to learn.

    The permutation is chosen by these same values, so a silent target takes the quietest estimate. None of them depends
    on the level of an estimate next to an active target; `level_weight` adds a term that does.

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

    Returns
    -------
    Tensor [B], lower is better. Not finite where an estimate is not finite.

    Raises
    ------
    UserError
        Where shapes differ, `clamp_db` is not above 0 or `level_weight` is below 0.

    Example
    -------
    >>> targets = torch.randn(4, 800, 2)
    >>> loss = separation_loss(targets.flip(-1), targets)
    >>> loss.shape, round(loss[0].item(), 2)
    (torch.Size([4]), -30.0)

    Source: Wisdom et al. 2021, "What's all the fuss about free universal sound separation data?", eq. 1 and 2
    (SNR with a soft threshold, log of the energy for zero references), here with the scale-invariant
    projection and the energy taken relative to the mixture.
    """
    _check(estimates, targets, lengths, mix, clamp_db, level_weight)
    tau = 10 ** (-clamp_db / 10)
    with no_autocast(estimates):
        estimates, targets = full_precision(estimates, targets)
        valid = valid_samples(lengths, estimates.shape[1], estimates)
        mixture = targets.detach().sum(2) if mix is None else mix.detach().to(targets.dtype)
        estimates, targets, mixture = _at_mixture_level(estimates, targets, mixture, valid)
        energy = mixture.square().sum(1)  # [B,1]
        active = (_centred_energy(targets, valid) > SILENT_SHARE * energy) & (energy > 0)  # [B,S]
        with torch.no_grad():
            share = pairwise_shares(estimates, targets, valid)  # [B,S,S]
            quiet = _silent_loss(estimates, energy, tau)[:, :, None]
            pairs = torch.where(active[:, None, :], _active_loss(share, 1 - share, tau), quiet)
            permutation = best_permutation(-pairs)
        chosen = reorder(estimates, permutation)
        heard = _active_loss(*energy_shares(chosen, targets, valid), tau)
        if level_weight:
            heard = heard + level_weight * _level_difference(chosen, targets, energy)
        return torch.where(active, heard, _silent_loss(chosen, energy, tau)).mean(1)


def _check(
    estimates: Tensor,
    targets: Tensor,
    lengths: Tensor | None,
    mix: Tensor | None,
    clamp_db: float,
    level_weight: float,
) -> None:
    check_shapes(estimates, targets, lengths)
    if mix is not None and mix.shape != estimates.shape[:2]:
        raise UserError(f"Expected a mixture of shape {tuple(estimates.shape[:2])}, got {tuple(mix.shape)}.")
    if not clamp_db > 0:
        raise UserError(f"Expected clamp_db above 0 (30 is usual), got {clamp_db}. Change the loss clamp in the YAML.")
    if not level_weight >= 0:
        raise UserError(f"Expected level_weight from 0, got {level_weight}. Change level_weight in the YAML.")


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
