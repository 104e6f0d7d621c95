"""Norms with statistics in fp32 under any autocast. B batch, L frames, F bins, D channels (last axis)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.banded import cumulative_norm
from lobes.nnet.lengths import mask
from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32, no_autocast


class RMSNorm(nn.Module):
    """Root mean square norm over the last axis, without mean removal (Zhang and Sennrich 2019, eq. 4).

    Example
    -------
    >>> RMSNorm(8)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, n_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` [..., D]; the result is at least fp32."""
        x = at_least_fp32(x)
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class LN4D(nn.Module):
    """Layer norm over the channels at each frame and bin (TF-GridNet, Wang et al. 2023), channels last.

    `gamma` and `beta` keep the shape (1, D, 1, 1) that published weights have.

    Example
    -------
    >>> LN4D(16)(torch.rand(2, 7, 129, 16)).shape
    torch.Size([2, 7, 129, 16])
    """

    def __init__(self, n_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, n_channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, n_channels, 1, 1))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` [B, L, F, D]; the result is at least fp32."""
        with no_autocast(x):
            return F.layer_norm(at_least_fp32(x), x.shape[-1:], self.gamma.flatten(), self.beta.flatten(), self.eps)


class LN4DCF(nn.Module):
    """Layer norm over channels and bins of each frame (TF-GridNet), channels last.

    `gamma` and `beta` keep the shape (1, D, 1, F) that published weights have: they depend on the number of
    bins, so weights cannot move between FFT sizes.

    Example
    -------
    >>> LN4DCF(4, 129)(torch.rand(2, 7, 129, 4)).shape
    torch.Size([2, 7, 129, 4])
    """

    def __init__(self, n_channels: int, n_bins: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, n_channels, 1, n_bins))
        self.beta = nn.Parameter(torch.zeros(1, n_channels, 1, n_bins))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` [B, L, F, D]; the result is at least fp32."""
        gamma = self.gamma[0, :, 0].t()  # [F, D]
        beta = self.beta[0, :, 0].t()  # [F, D]
        with no_autocast(x):
            return F.layer_norm(at_least_fp32(x), x.shape[-2:], gamma, beta, self.eps)


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm with one group (all channels, frames and bins of an item) over the item's valid frames only.

    Example
    -------
    >>> MaskedGroupNorm(16)(torch.rand(2, 16, 7, 129), torch.tensor([7, 4])).shape
    torch.Size([2, 16, 7, 129])
    """

    def __init__(self, n_channels: int, eps: float = 1e-5) -> None:
        super().__init__(1, n_channels, eps)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Normalise `x` [B, D, L, F] with `frames` valid frames per item (Long [B]); the result is at least fp32."""
        with no_autocast(x):
            x = at_least_fp32(x)
            if frames is not None:
                return self._masked(x, frames)
            # PyTorch adds a tensor in channels_last up in one float32, 8e-5 off on 30 s of SPMamba's; the layers after
            # this one are a tenth faster in channels_last
            return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)

    def _masked(self, x: Tensor, frames: Tensor) -> Tensor:
        valid = mask(frames, x.shape[2])[:, None, :, None]  # [B, 1, L, 1]
        count = (frames * x.shape[1] * x.shape[3]).to(x.dtype)[:, None, None, None]
        mean = (x * valid).sum((1, 2, 3), keepdim=True) / count
        deviation = (x - mean) * valid
        variance = deviation.square().sum((1, 2, 3), keepdim=True) / count
        scale, shift = self.weight[:, None, None], self.bias[:, None, None]  # [D, 1, 1]
        return deviation * torch.rsqrt(variance + self.eps) * scale + shift


class CumulativeGroupNorm(nn.GroupNorm):
    """`MaskedGroupNorm` over the frames up to the present one, for causal networks.

    Example
    -------
    >>> norm, x = CumulativeGroupNorm(16), torch.rand(2, 16, 7, 129)
    >>> torch.equal(norm(x[:, :, :3]), norm(x)[:, :, :3])
    True
    """

    def __init__(self, n_channels: int, eps: float = 1e-5) -> None:
        super().__init__(1, n_channels, eps)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:  # type: ignore[override]
        """Normalise `x` [B, D, L, F], with a `memory` a chunk of a stream; the result is at least fp32."""
        with no_autocast(x):
            x = at_least_fp32(x).permute(0, 2, 1, 3)  # [B, L, D, F]
            y = cumulative_norm(x.flatten(2)[:, :, None], None, self.eps, memory, self).view_as(x)
            return y.permute(0, 2, 1, 3) * self.weight[:, None, None] + self.bias[:, None, None]
