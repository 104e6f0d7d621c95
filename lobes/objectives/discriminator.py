"""The metric discriminator: a network that learns to predict PESQ, so that an enhancer can be trained towards it.

Sources: MetricGAN (Fu et al. 2019, arXiv:1905.04874), in the form of CMGAN (Cao et al. 2022, arXiv:2203.15149).
B batch, L frames, F bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lobes.nnet.precision import no_autocast

LOWEST_PESQ, HIGHEST_PESQ = 1.0, 4.5
CEILING = 1.2  # of the output, above the score of a perfect estimate


class MetricDiscriminator(nn.Module):
    """Score of an estimate given its target, about 0 (PESQ 1) to 1 (PESQ 4.5). 181,650 parameters by default.

    Arguments
    ---------
    n_channels : int
        Of the first of four convolutions; each further one has twice as many.

    Example
    -------
    >>> MetricDiscriminator()(torch.rand(2, 63, 257), torch.rand(2, 63, 257)).shape
    torch.Size([2])
    """

    def __init__(self, n_channels: int = 16) -> None:
        super().__init__()
        sizes = [2, *(n_channels * 2**i for i in range(4))]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(sizes, sizes[1:], strict=False):
            layers += [
                spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)),
                nn.InstanceNorm2d(outputs, affine=True),
                nn.PReLU(outputs),
            ]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        hidden = sizes[-1] // 2
        self.head = nn.Sequential(
            spectral_norm(nn.Linear(sizes[-1], hidden)),
            nn.Dropout(0.3),
            nn.PReLU(hidden),
            spectral_norm(nn.Linear(hidden, 1)),
        )
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, target: Tensor, estimate: Tensor) -> Tensor:
        """Score compressed magnitudes [B, L, F] of estimates against their targets: [B]."""
        with no_autocast(target):
            x = self.convolutions(torch.stack((target, estimate), 1).float())
            return CEILING * torch.sigmoid(self.slope * self.head(x)).squeeze(1)


def scaled_pesq(pesq: Tensor) -> Tensor:
    """PESQ from 1 .. 4.5 to 0 .. 1, as the discriminator gives it.

    Example
    -------
    >>> scaled_pesq(torch.tensor([1.0, 4.5]))
    tensor([0., 1.])
    """
    return (pesq - LOWEST_PESQ) / (HIGHEST_PESQ - LOWEST_PESQ)


def discriminator_loss(discriminator: nn.Module, target: Tensor, estimate: Tensor, pesq: Tensor) -> Tensor:
    """Squared errors of the discriminator: targets given as their own estimates score 1, estimates their PESQ.

    Arguments
    ---------
    discriminator : nn.Module
        As `MetricDiscriminator`.
    target, estimate : Tensor
        Compressed magnitudes [B, L, F]; the estimate's gradient is not used.
    pesq : Tensor
        PESQ of each estimate [B]; NaN where it has none: that item does not count.

    Returns
    -------
    Tensor
        A scalar; 0 where no item counts.

    Example
    -------
    >>> x = torch.rand(2, 2, 63, 257)
    >>> discriminator_loss(MetricDiscriminator(), *x, torch.tensor([2.5, torch.nan])).shape
    torch.Size([])
    """
    known = torch.isfinite(pesq)
    if not bool(known.any()):
        return 0.0 * torch.stack([parameter.sum() for parameter in discriminator.parameters()]).sum()
    target, estimate = target[known], estimate[known].detach()
    perfect = (discriminator(target, target) - 1).square()
    return (perfect + (discriminator(target, estimate) - scaled_pesq(pesq[known])).square()).mean()


def generator_loss(discriminator: nn.Module, target: Tensor, estimate: Tensor) -> Tensor:
    """Squared distance of each estimate's score from that of a perfect one [B].

    Example
    -------
    >>> x = torch.rand(2, 2, 63, 257)
    >>> generator_loss(MetricDiscriminator(), *x).shape
    torch.Size([2])
    """
    return (discriminator(target, estimate) - 1).square()
