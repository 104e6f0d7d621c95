"""Permutation invariant assignment of estimates to targets, for any number of sources.

Legend: B batch, T samples, S sources. A permutation [B,S] says for each target which estimate belongs to it.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from lobes.nnet.precision import no_autocast
from lobes.objectives.common import check_shapes, full_precision, valid_samples
from lobes.objectives.si_snr import CEILING, FLOOR, si_snr, unit_energy

EXHAUSTIVE = 3  # sources up to which all permutations are tried; beyond, the Hungarian method


def best_permutation(pairwise: Tensor) -> Tensor:
    """Assign one estimate to each target, Long [B,S], so that the sum of the pairs' values is the largest.

    `pairwise` [B,S,S] is the value of estimate i (second axis) for target j (third axis), higher is better. NaN counts
    as the worst of all.

    Example
    -------
    >>> best_permutation(torch.tensor([[[0.0, 9.0], [9.0, 0.0]]]))
    tensor([[1, 0]])

    Source: Yu et al. 2017, permutation invariant training; Kuhn 1955 for more than three sources.
    """
    pairwise = torch.nan_to_num(pairwise.detach(), nan=-1e9, posinf=1e9, neginf=-1e9)
    sources = pairwise.shape[-1]
    if sources > EXHAUSTIVE:
        return _hungarian(pairwise)
    table = torch.tensor(list(permutations(range(sources))), device=pairwise.device)  # [P,S]
    values = pairwise[:, table, torch.arange(sources, device=pairwise.device)].sum(-1)  # [B,P]
    return table[values.argmax(1)]  # [B,S]


def _hungarian(pairwise: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment  # lazy: half a second that two speakers never need

    rows = [linear_sum_assignment(values.T, maximize=True)[1] for values in pairwise.double().cpu().numpy()]
    return torch.stack([torch.from_numpy(row).long() for row in rows]).to(pairwise.device)  # [B,S]


def reorder(estimates: Tensor, permutation: Tensor) -> Tensor:
    """Bring the estimates [B,T,S] into the order of the targets by a permutation [B,S]."""
    return estimates.gather(2, permutation[:, None, :].expand_as(estimates))  # [B,T,S]


def pairwise_shares(estimates: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Share of estimate i's energy that lies along target j: [B,S,S], zero for silent ones.

    Good to about 1e-6, which orders the pairs; the values of the chosen pairs are computed without this loss.
    """
    estimate, _ = unit_energy(estimates, valid)
    target, _ = unit_energy(targets, valid)
    return torch.einsum("bti,btj->bij", estimate, target).square().clamp(max=1.0)


def pit_si_snr(estimates: Tensor, targets: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """SI-SNR of each target under the best assignment of the estimates.

    Arguments
    ---------
    estimates, targets : Tensor [B,T,S]
        Any float type; computed in fp32 (fp64 for fp64) under any autocast.
    lengths : Tensor [B], optional
        Relative lengths in (0, 1].

    Returns
    -------
    Tensor [B,S]
        SI-SNR in dB, in the order of the targets, with the gradient of the chosen pairs. See `si_snr` for
        silence.
    LongTensor [B,S]
        The estimate that was assigned to each target.

    Raises
    ------
    UserError
        Where the shapes differ.

    Example
    -------
    >>> targets = torch.randn(2, 800, 3)
    >>> value, permutation = pit_si_snr(targets[..., [2, 0, 1]], targets)
    >>> value.shape, permutation[0]
    (torch.Size([2, 3]), tensor([1, 2, 0]))
    """
    check_shapes(estimates, targets, lengths)
    with no_autocast(estimates), torch.no_grad():
        full = full_precision(estimates, targets)
        share = pairwise_shares(*full, valid_samples(lengths, estimates.shape[1], estimates))
        permutation = best_permutation(10 * torch.log10((share + FLOOR) / (1 - share + CEILING)))
    return si_snr(reorder(estimates, permutation), targets, lengths), permutation
