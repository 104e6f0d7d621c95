"""Layers with one set of weights for each band. B batch, L frames, K bands, C features of a band.

Bands of equal size are neighbours, so a layer works on stretches of them: a list of [B, L, bands, C].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lobes.nnet.lengths import mask
from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32, no_autocast


class BandLinear(nn.Module):
    """A linear layer for each band, in one batched product for each stretch of neighbouring bands of equal sizes.

    Example
    -------
    >>> layer = BandLinear([4, 6, 6], [8, 8, 8], [slice(0, 1), slice(1, 3)])
    >>> [y.shape[-2:] for y in layer([torch.rand(2, 5, 1, 4), torch.rand(2, 5, 2, 6)])]
    [torch.Size([1, 8]), torch.Size([2, 8])]
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], stretches: list[slice]) -> None:
        super().__init__()
        sizes = [(stretch.stop - stretch.start, inputs[stretch.start], outputs[stretch.start]) for stretch in stretches]
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(size)) for size in sizes)  # [bands, in, out]
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(count, out)) for count, _, out in sizes)
        for weight in self.weights:
            bound = math.sqrt(6 / (weight.shape[1] + weight.shape[2]))  # Xavier's, of each band
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, stretches: list[Tensor]) -> list[Tensor]:
        """Map each stretch [B, L, bands, in] to [B, L, bands, out]."""
        return [
            torch.einsum("blki,kio->blko", x, weight) + bias
            for x, weight, bias in zip(stretches, self.weights, self.biases, strict=True)
        ]


class BandNorm(nn.Module):
    """Group norm with one group for each band: over the band's features and the item's valid frames.

    Arguments
    ---------
    features : int
        C of every band.
    bands : int
        Number of bands.
    causal : bool
        Normalise frame l by the frames up to l only (cumulative layer norm, Luo and Mesgarani 2019, eq. 15).
    eps : float
        Added to the variance.

    Example
    -------
    >>> BandNorm(6, 2)(torch.rand(3, 5, 2, 6), torch.tensor([5, 4, 1])).shape
    torch.Size([3, 5, 2, 6])
    """

    def __init__(self, features: int, bands: int, causal: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(bands, features))
        self.bias = nn.Parameter(torch.zeros(bands, features))
        self.causal, self.eps = causal, eps

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Normalise `x` [B, L, bands, C] with `frames` valid frames per item (Long [B]); at least fp32.

        With a `memory`, which only a causal norm takes, `x` is a chunk of a stream.
        """
        with no_autocast(x):
            x = at_least_fp32(x)
            if self.causal:
                y = cumulative_norm(x, frames, self.eps, memory, self)
            else:
                y = global_norm(x, frames, self.eps)
            return y * self.weight + self.bias


def global_norm(x: Tensor, frames: Tensor | None, eps: float) -> Tensor:
    """Normalise `x` [B, L, K, C] to zero mean and unit variance over valid frames and features, per item and band.

    Example
    -------
    >>> y = global_norm(torch.rand(2, 5, 3, 4), None, 0.0)
    >>> torch.allclose(y.square().mean((1, 3)), torch.ones(2, 3), atol=1e-4)
    True
    """
    if frames is None:
        variance, mean = torch.var_mean(x, (1, 3), correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + eps)
    valid = mask(frames, x.shape[1])[:, :, None, None]  # [B, L, 1, 1]
    count = (frames * x.shape[3]).to(x.dtype)[:, None, None, None]
    mean = x.masked_fill(~valid, 0).sum((1, 3), keepdim=True) / count
    deviation = (x - mean).masked_fill(~valid, 0)
    variance = deviation.square().sum((1, 3), keepdim=True) / count
    return deviation * torch.rsqrt(variance + eps)


def cumulative_norm(
    x: Tensor, frames: Tensor | None, eps: float, memory: Memory | None = None, layer: nn.Module | None = None
) -> Tensor:
    """Normalise like `global_norm`, but frame l by the frames up to l only; `frames` has no effect: padding is last.

    With a `memory`, `x` is the next chunk of a stream, and the sums over all chunks before stand there under `layer`.

    Example
    -------
    >>> x = torch.rand(2, 5, 3, 4)
    >>> torch.equal(cumulative_norm(x[:, :3], None, 1e-5), cumulative_norm(x, None, 1e-5)[:, :3])
    True
    """
    # in fp64, because in a running sum a quiet frame after a loud one would be lost in rounding
    wide, done = x.double(), 0
    total = wide.sum(3, keepdim=True).cumsum(1)  # [B, L, K, 1]
    power = wide.square().sum(3, keepdim=True).cumsum(1)
    if memory is not None and layer is not None:
        past_total, past_power, done = memory.get(layer, (0, 0, 0))
        total, power = total + past_total, power + past_power
        memory[layer] = total[:, -1:].clone(), power[:, -1:].clone(), done + x.shape[1]
    count = x.shape[3] * (torch.arange(x.shape[1], device=x.device)[:, None, None] + done + 1)  # [L, 1, 1]
    mean = total / count
    variance = (power / count - mean.square()).clamp(min=0)
    return (x - mean.to(x.dtype)) * torch.rsqrt(variance + eps).to(x.dtype)


def joint_norm(x: Tensor, frames: Tensor | None, eps: float) -> Tensor:
    """Normalise like `global_norm`, but over all bands together.

    Example
    -------
    >>> y = joint_norm(torch.rand(2, 5, 3, 4), None, 0.0)
    >>> torch.allclose(y.square().mean((1, 2, 3)), torch.ones(2), atol=1e-4)
    True
    """
    return global_norm(x.flatten(2)[:, :, None], frames, eps).view_as(x)


def frame_norm(x: Tensor, frames: Tensor | None, eps: float) -> Tensor:
    """Normalise `x` [B, L, K, C] over bands and features of each frame; `frames` has no effect: frames do not mix.

    Example
    -------
    >>> y = frame_norm(torch.rand(2, 5, 3, 4), None, 0.0)
    >>> torch.allclose(y.square().mean((2, 3)), torch.ones(2, 5), atol=1e-4)
    True
    """
    return global_norm(x.flatten(0, 1)[:, :, None], None, eps).view_as(x)


def norms_for(sizes: Sequence[int], stretches: list[slice], causal: bool, eps: float = 1e-5) -> nn.ModuleList:
    """Make a `BandNorm` for each stretch of bands of equal sizes."""
    return nn.ModuleList(BandNorm(sizes[s.start], s.stop - s.start, causal, eps) for s in stretches)
