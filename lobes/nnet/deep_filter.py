"""Complex masks of several taps over time. B batch, L frames, F bins, S sources, P taps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CENTRED = (-1, 0, 1)
CAUSAL = (-2, -1, 0)


def filter_over_time(
    spectrum: Tensor, masks: Tensor, offsets: tuple[int, ...] = CENTRED, past: Tensor | None = None
) -> Tensor:
    """Sum neighbouring frames of a spectrum, each multiplied by a complex mask of its own.

    Arguments
    ---------
    spectrum : Tensor
        Real and imaginary part [B, 2, L, F].
    masks : Tensor
        Complex masks [B, S, P, 2, L, F].
    offsets : tuple of int
        Input frame of each tap, relative to the output frame; frames outside the spectrum are zeros.
    past : Tensor or None
        The frames before the spectrum, [B, 2, -min(offsets), F]; None: zeros.

    Returns
    -------
    Tensor
        Spectra [B, S, 2, L, F], y[l] = sum_p mask_p[l] x[l + offset_p].

    Example
    -------
    >>> import torch
    >>> filter_over_time(torch.rand(1, 2, 5, 4), torch.rand(1, 2, 3, 2, 5, 4)).shape
    torch.Size([1, 2, 2, 5, 4])
    """
    before, after = max(0, -min(offsets)), max(0, max(offsets))
    padded = F.pad(spectrum, (0, 0, before if past is None else 0, after))
    if past is not None:
        padded = torch.cat((past, padded), 2)
    shifted = [padded[:, :, before + o : before + o + spectrum.shape[2]] for o in offsets]
    x = torch.stack(shifted, 1)[:, None]  # [B, 1, P, 2, L, F]
    real = masks[:, :, :, 0] * x[:, :, :, 0] - masks[:, :, :, 1] * x[:, :, :, 1]
    imaginary = masks[:, :, :, 0] * x[:, :, :, 1] + masks[:, :, :, 1] * x[:, :, :, 0]
    return torch.stack((real.sum(2), imaginary.sum(2)), 2)  # [B, S, 2, L, F]
