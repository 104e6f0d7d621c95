"""What a separation loss measures: SI-SNR, SNR or SDR, as the energy of the target in an estimate and that of the rest.

Each criterion splits the energy of estimates twice: of every pair of estimate and target, without a gradient, to choose
the permutation; and of the chosen pairs. B batch, T samples, S sources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lobes.objectives.pit import pairwise_shares
from lobes.objectives.si_snr import SILENT_BESIDE, energy_shares

FILTER = 512  # taps by which a target may be filtered under the SDR, as in BSS Eval
LOADING = 1e-8  # of the target's energy, on the diagonal of its autocorrelation: bounds the SDR at 80 dB

Split = tuple[Tensor, Tensor]  # energy of the target in the estimate, energy of the rest


class Criterion(NamedTuple):
    """Functions of estimates and targets [B,T,S] and of the valid samples [B,T,1]."""

    pairs: Callable[[Tensor, Tensor, Tensor], Split]  # two [B,S,S]: of estimate i for target j
    chosen: Callable[[Tensor, Tensor, Tensor], Split]  # two [B,S]: of estimate i for target i


def _share_pairs(estimates: Tensor, targets: Tensor, valid: Tensor) -> Split:
    share = pairwise_shares(estimates, targets, valid)
    return share, 1 - share


def _snr_pairs(estimates: Tensor, targets: Tensor, valid: Tensor) -> Split:
    energy = _energy(targets)[:, None, :]
    across = torch.einsum("bti,btj->bij", estimates, targets)
    noise = (_energy(estimates)[:, :, None] + energy - 2 * across).clamp(min=0.0)
    return torch.ones_like(noise), noise / torch.where(energy == 0, 1.0, energy)


def _snr_chosen(estimates: Tensor, targets: Tensor, valid: Tensor) -> Split:
    energy = _energy(targets)
    noise = _energy(estimates - targets) / torch.where(energy == 0, 1.0, energy)
    return torch.ones_like(noise), noise


def _sdr_pairs(estimates: Tensor, targets: Tensor, valid: Tensor) -> Split:
    shares = [filtered_share(estimates, target[..., None]) for target in targets.unbind(-1)]  # of [B,S]
    share = torch.stack(shares, -1)
    return share, 1 - share


def _sdr_chosen(estimates: Tensor, targets: Tensor, valid: Tensor) -> Split:
    share = filtered_share(estimates, targets)
    return share.to(estimates.dtype), (1 - share).to(estimates.dtype)


CRITERIA = {
    "si_snr": Criterion(_share_pairs, energy_shares),
    "snr": Criterion(_snr_pairs, _snr_chosen),
    "sdr": Criterion(_sdr_pairs, _sdr_chosen),
}


def filtered_share(estimates: Tensor, targets: Tensor) -> Tensor:
    """Share of an estimate's energy that a filter of 512 taps can make of its target: fp64 [B,S], from 0 to 1.

    10 log10(share / (1 - share)) is the SDR of BSS Eval. It ignores levels, small delays and colourings. A silent
    estimate or target gives 0 and no gradient.

    Arguments
    ---------
    estimates, targets : Tensor [B,T,S]
        With zeros where samples do not count. One target may stand for all estimates: [B,T,1].

    Example
    -------
    >>> target = torch.randn(1, 4000, 1)
    >>> late = torch.cat([torch.zeros(1, 5, 1), 0.5 * target[:, :-5]], 1)
    >>> bool(filtered_share(late, target) > 0.995)
    True

    Source: Vincent et al. 2006 (SDR); Scheibler 2022, "SDR - medium rare with fast computations" (as a loss).
    """
    x, y = (signal.double().transpose(1, 2) for signal in (estimates, targets))  # [B,S,T]
    x, heard = _unit(x, SILENT_BESIDE * y.detach().abs().amax((1, 2), keepdim=True))
    y, _ = _unit(y, torch.zeros_like(heard))
    size = x.shape[-1] + FILTER
    spectra = [torch.fft.rfft(signal, size) for signal in (x, y)]
    auto = torch.fft.irfft(spectra[1].abs().square(), size)[..., :FILTER]  # [B,S,512]
    across = torch.fft.irfft(spectra[0] * spectra[1].conj(), size)[..., :FILTER]  # [B,S,512]
    places = torch.arange(FILTER, device=x.device)
    matrix = auto[..., (places[:, None] - places).abs()]  # [B,S,512,512]
    silent = (auto[..., :1] == 0).to(matrix.dtype)[..., None]
    loaded = matrix + (LOADING * auto[..., :1, None] + silent) * torch.eye(FILTER, dtype=x.dtype, device=x.device)
    taps = torch.linalg.solve(loaded.expand(*across.shape, FILTER), across[..., None])[..., 0]
    return (across * taps).sum(-1).clamp(0.0, 1.0) * heard[..., 0]


def _unit(x: Tensor, silence: Tensor) -> tuple[Tensor, Tensor]:
    """Signals [B,S,T] at unit energy, zeros for silent ones; and whether they are heard [B,S,1], as 1 or 0."""
    peak = x.detach().abs().amax(-1, keepdim=True)
    heard = peak > silence
    x = torch.where(heard, x / torch.where(heard, peak, 1.0), 0.0)
    energy = x.square().sum(-1, keepdim=True)
    return x / torch.where(heard, energy, 1.0).sqrt(), heard.to(x.dtype)


def _energy(x: Tensor) -> Tensor:
    return x.square().sum(1)  # [B,S]
