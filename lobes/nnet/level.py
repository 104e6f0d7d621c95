"""The level of each item: unit level for a network, so that f(a x) = a f(x), and the mixture's level for its estimates.

B batch, T samples, S sources.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lobes.nnet.lengths import mask, zero_padding
from lobes.nnet.memory import Memory

# Directions of the estimates with less than this share of the strongest one's power are not fitted: two estimates that
# are nearly the same signal would get large gains of opposite sign, whose sum fits and whose parts are noise.
WEAKEST = 0.05
ROUNDING = 1e-12  # a sum of estimates with less than this share of their power is what rounding left of it


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


def running_level(spectrum: Tensor, memory: Memory | None = None, layer: nn.Module | None = None) -> Tensor:
    """Return the rms of a spectrum at each frame over all bins of the frames so far: the level of a causal network.

    Frames of digital silence do not count, so that a recording that starts with them is not taken for a quiet one. With
    a `memory`, the spectrum is a chunk of a stream, and the sums so far stand there under `layer`.

    Arguments
    ---------
    spectrum : Tensor
        Real and imaginary part [B, 2, L, F].
    memory, layer
        As in `lobes.nnet.banded.cumulative_norm`.

    Returns
    -------
    Tensor
        Level [B, 1, L, 1], 0 as long as there was silence only; its gradient is finite everywhere.

    Example
    -------
    >>> running_level(torch.tensor([0.0, 3.0, 0.0, 1.0]).view(1, 1, 4, 1).expand(1, 2, 4, 5))[0, 0, :, 0]
    tensor([0.0000, 4.2426, 4.2426, 3.1623])
    """
    power = spectrum.double().square().sum(1, keepdim=True).mean(3, keepdim=True)  # [B, 1, L, 1]
    total, count = power.cumsum(2), (power > 0).long().cumsum(2)
    if memory is not None and layer is not None:
        total, count = (now + past for now, past in zip((total, count), memory.get(layer, (0, 0)), strict=True))
        memory[layer] = total[:, :, -1:].clone(), count[:, :, -1:].clone()
    silent = count == 0
    return torch.where(silent, 0, torch.where(silent, 1, total / count.clamp(min=1)).sqrt()).to(spectrum.dtype)


def to_unit_level(x: Tensor, level: Tensor) -> Tensor:
    """Divide each item by its level, [B, T] by [B, 1] or a spectrum by [B, 1, 1, 1]; silent ones stay as they are.

    Example
    -------
    >>> x = torch.tensor([[2.0, -2.0], [0.0, 0.0]])
    >>> to_unit_level(x, item_level(x))
    tensor([[ 1., -1.],
            [ 0.,  0.]])
    """
    return x / torch.where(level > 0, level, torch.ones_like(level))


def fit_level(estimates: Tensor, mix: Tensor, jointly: bool = True, samples: Tensor | None = None) -> Tensor:
    """Scale estimates so that they fit their mixture best, by least squares: a loss that ignores scale leaves any gain.

    The sign is fitted, too, since such a loss ignores it as well. Where the mixture cannot say how estimates share it
    (they are the same signal), they keep the ratio that they have.

    Arguments
    ---------
    estimates : Tensor
        [B, T, S]
    mix : Tensor
        [B, T]
    jointly : bool
        True: the sum of the sources fits the mixture, with a gain for each source. False: each source alone fits it.
        For one source that is the same.
    samples : Tensor or None
        Valid samples per item, Long [B]; None: all.

    Returns
    -------
    Tensor
        [B, T, S] in the type of the estimates. A silent estimate stays silent, and a silent mixture gives silence;
        what is not finite stays so.

    Example
    -------
    >>> sources = torch.randn(1, 8000, 2)
    >>> fitted = fit_level(sources * torch.tensor([30.0, -0.01]), sources.sum(-1))
    >>> fitted.shape, torch.allclose(fitted, sources, atol=1e-4)
    (torch.Size([1, 8000, 2]), True)
    """
    gains = fitting_gains(products(estimates, mix, samples), jointly)  # [B, S]
    return estimates * gains.to(estimates)[:, None]


def fitted(estimates: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """What `fit_level` makes of one mixture's estimates: arrays [T, S] and [T], in float32.

    Example
    -------
    >>> float(fitted(np.full((100, 1), 5.0), np.ones(100)).max())
    1.0
    """
    signals, mixture = (torch.from_numpy(np.array(x, np.float32))[None] for x in (estimates, mix))
    return fit_level(signals, mixture)[0].numpy()


def products(estimates: Tensor, mix: Tensor, samples: Tensor | None = None) -> Tensor:
    """Sums over time of the products of all estimates and the mixture: all that `fitting_gains` needs to know.

    Those of a long signal are the sums of those of its parts.

    Arguments
    ---------
    estimates : Tensor
        [B, T, S]
    mix : Tensor
        [B, T]
    samples : Tensor or None
        Valid samples per item, Long [B]; None: all.

    Returns
    -------
    Tensor
        [B, S + 1, S + 1] in double precision on the CPU; the mixture is the last row and column.

    Example
    -------
    >>> products(torch.ones(1, 4, 2), torch.full((1, 4), 2.0))[0]
    tensor([[ 4.,  4.,  8.],
            [ 4.,  4.,  8.],
            [ 8.,  8., 16.]], dtype=torch.float64)
    """
    x, m = (zero_padding(y.detach(), samples).cpu().double() for y in (estimates, mix[..., None]))  # [B, T, S or 1]
    both = torch.cat([x, m], -1)  # [B, T, S + 1]
    return both.transpose(1, 2) @ both


def pseudo_inverse(power: Tensor) -> Tensor:
    """The pseudo-inverse of symmetric matrices [B, S, S], without directions that are weaker than `WEAKEST`.

    Example
    -------
    >>> pseudo_inverse(torch.tensor([[[2.0, 0.0], [0.0, 0.0]]]))
    tensor([[[0.5000, 0.0000],
             [0.0000, 0.0000]]])
    """
    return torch.linalg.pinv(power, hermitian=True, rtol=WEAKEST)


def fitting_gains(sums: Tensor, jointly: bool = True, inverse: Callable[[Tensor], Tensor] = pseudo_inverse) -> Tensor:
    """The gain [B, S] of each estimate at which they fit their mixture, from their `products` [B, S + 1, S + 1].

    `inverse` does what `pseudo_inverse` does; a graph of ONNX needs another way.

    Example
    -------
    >>> fitting_gains(products(torch.ones(1, 4, 1), torch.full((1, 4), 2.0)))
    tensor([[2.]], dtype=torch.float64)
    """
    own, onto = sums[:, :-1, :-1], sums[:, :-1, -1:]  # [B, S, S], [B, S, 1]
    level = own.diagonal(dim1=1, dim2=2).sqrt()  # [B, S]
    level = torch.where(level > 0, level, torch.ones_like(level))
    gains = _one_gain(own, onto) * level if jointly else torch.zeros_like(level)  # [B, S], of estimates at level 1
    power = torch.nan_to_num(own / level[:, None] / level[..., None])  # [B, S, S]
    rest = torch.nan_to_num(onto / level[..., None] - power @ gains[..., None])  # [B, S, 1]
    gains = gains + (inverse(power) @ rest if jointly else rest)[..., 0]
    return gains / level


def _one_gain(own: Tensor, onto: Tensor) -> Tensor:
    """The common gain [B, 1] at which the sum of the estimates fits the mixture; 0 where their sum is silent."""
    energy = own.sum((1, 2))[:, None]  # [B, 1]
    heard = energy > ROUNDING * own.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
    return torch.where(heard, onto.sum(1) / torch.where(heard, energy, 1), 0)
