"""The first steps of every objective: checked shapes, full precision, and the samples that count.

Legend: B batch, T samples, S sources.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.errors import UserError
from lobes.nnet.lengths import mask, to_samples


def check_shapes(estimates: Tensor, targets: Tensor, lengths: Tensor | None) -> None:
    """Raise `UserError` unless estimates and targets are one shape [B,T,S] and lengths are [B]."""
    if estimates.ndim != 3 or estimates.shape != targets.shape:
        raise UserError(
            f"Expected estimates and targets of one shape [batch, samples, sources], got "
            f"{tuple(estimates.shape)} and {tuple(targets.shape)}. Where only the last number differs, set "
            "num_spks to the number of sources of the task."
        )
    if lengths is not None and lengths.shape != estimates.shape[:1]:
        raise UserError(
            f"Expected lengths of shape [{estimates.shape[0]}] (relative, one per item), got {tuple(lengths.shape)}."
        )


def full_precision(estimates: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in fp32, or in fp64 where either one is fp64."""
    dtype = torch.promote_types(torch.promote_types(estimates.dtype, targets.dtype), torch.float32)
    return estimates.to(dtype), targets.to(dtype)


def valid_samples(lengths: Tensor | None, total: int, like: Tensor) -> Tensor:
    """Mark the samples that count, [B,T,1] of bool, on the device of `like` [B,...].

    `lengths` [B] are SpeechBrain's relative lengths in (0, 1]; None means that all `total` samples count.

    Example
    -------
    >>> valid_samples(torch.tensor([1.0, 0.5]), 4, torch.zeros(2, 4, 1))[..., 0].sum(1)
    tensor([4, 2])
    """
    return mask(to_samples(lengths, total, like.shape[0], like.device), total)[..., None]  # [B,T,1]
