"""The level of each item, so that a network sees unit level and f(a x) = a f(x). B batch, T samples."""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.nnet.lengths import mask, zero_padding


def item_level(x: Tensor, samples: Tensor | None = None, centred: bool = False) -> Tensor:
    """Return the root mean square, or the standard deviation, of each item over its valid samples.

    Where the standard deviation is only rounding noise compared with the rms (a constant signal, a single sample), the
    rms takes its place, so that the level is zero for silence alone and always scales with the signal. Values are
    divided by the peak before they are squared, so that signals of any amplitude work without an epsilon.

    Arguments
    ---------
    x : Tensor
        Signals [B, T]. Values after an item's end are ignored.
    samples : Tensor or None
        Valid samples per item, Long [B]; None: all.
    centred : bool
        True: the unbiased standard deviation; False: the rms.

    Returns
    -------
    Tensor
        Level [B, 1], 0 for a silent item; its gradient is finite everywhere.

    Example
    -------
    >>> item_level(torch.tensor([[3.0, -3.0, 3.0, -3.0], [0.0, 0.0, 0.0, 0.0]]))
    tensor([[3.],
            [0.]])
    """
    x = zero_padding(x, samples)
    count = x.new_full((x.shape[0], 1), x.shape[1]) if samples is None else samples[:, None].to(x.dtype)  # [B, 1]
    peak = x.detach().abs().amax(1, keepdim=True)
    peak = torch.where(peak > 0, peak, torch.ones_like(peak))
    unit = x / peak  # [B, T]
    power = unit.square().sum(1, keepdim=True) / count
    if centred:
        deviation = unit - unit.sum(1, keepdim=True) / count
        if samples is not None:
            deviation = deviation * mask(samples, x.shape[1])
        variance = deviation.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
        power = torch.where(variance > 1e-10 * power, variance, power)
    silent = power == 0
    return torch.where(silent, 0, torch.where(silent, 1, power).sqrt()) * peak  # [B, 1]


def to_unit_level(x: Tensor, level: Tensor) -> Tensor:
    """Divide each item [B, T] by its level [B, 1]; silent items stay as they are.

    Example
    -------
    >>> x = torch.tensor([[2.0, -2.0], [0.0, 0.0]])
    >>> to_unit_level(x, item_level(x))
    tensor([[ 1., -1.],
            [ 0.,  0.]])
    """
    return x / torch.where(level > 0, level, torch.ones_like(level))
