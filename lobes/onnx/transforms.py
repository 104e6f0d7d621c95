"""The STFT pair as matrix products, for signals of a length that is known only when the graph runs.

B batch (any number of signals), T samples, L frames, F bins.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.models.base.envelope import SpectralModel
from lobes.models.masking import MaskingSeparator
from lobes.nnet.reflected_stft import ReflectedSTFT
from lobes.nnet.stft import STFT, without_rounding


class MatrixSTFT(STFT):
    """`lobes.nnet.stft.STFT` by matrices in place of FFTs: the same numbers, in fp64 where that is in fp64.

    Example
    -------
    >>> x, stft = torch.rand(2, 1000), STFT(64, 16)
    >>> torch.allclose(MatrixSTFT(stft)(x), stft(x), atol=1e-6)
    True
    """

    def __init__(self, stft: STFT) -> None:
        super().__init__(stft.n_fft, stft.hop_length)
        self.window = torch.hann_window(self.n_fft, dtype=torch.float64)
        unit = torch.eye(self.n_fft, dtype=torch.float64)
        self.analysis = torch.cat(_parts(torch.fft.rfft(unit * self.window)), 1)  # [n_fft, 2 F]
        real = torch.eye(self.n_fft // 2 + 1, dtype=torch.float64)
        inverse = torch.cat(
            [torch.fft.irfft(torch.complex(*parts), self.n_fft) for parts in ((real, 0 * real), (0 * real, real))]
        )
        self.synthesis = (inverse * self.window).float()  # [2 F, n_fft]

    def forward(self, x: Tensor, samples: Tensor | None = None) -> Tensor:
        """Compute the spectra [B, 2, L, F] of whole signals `x` [B, T]."""
        half = self.n_fft // 2
        return self.transform(F.pad(at_least(x, half + 1)[:, None], (half, half), mode="reflect")[:, 0])

    def transform(self, x: Tensor) -> Tensor:
        """Compute the spectra [B, 2, L, F] of the frames that lie wholly inside of `x` [B, T]."""
        frames = x.double().unfold(1, self.n_fft, self.hop_length)  # [B, L, n_fft]
        return without_rounding((frames @ self.analysis).unflatten(2, (2, -1)).transpose(1, 2).to(x.dtype))

    def pieces(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what frames add to signals and to weights, as `STFT.pieces`."""
        pieces = parts.transpose(1, 2).flatten(2) @ self.synthesis  # [B, L, n_fft]
        return pieces, self.window.float().square() * torch.ones_like(pieces[:1])


class MatrixReflectedSTFT(MatrixSTFT):
    """`lobes.nnet.reflected_stft.ReflectedSTFT` in evaluation mode, in the same way."""

    def forward(self, x: Tensor, samples: Tensor | None = None) -> Tensor:
        """Compute the spectra [B, 2, L, F] of whole signals `x` [B, T]."""
        hop = self.hop_length
        return super().forward(F.pad(at_least(x, hop + 1)[:, None], (hop, hop), mode="reflect")[:, 0])

    def inverse(self, parts: Tensor, total: Any, samples: Tensor | None = None) -> Tensor:
        """Compute signals [B, T] of `total` samples from spectra [B, 2, L, F]."""
        hop = self.hop_length
        longer: Any = torch.as_tensor(total).clamp(min=hop + 1) + 2 * hop
        return super().inverse(parts, longer)[:, hop : hop + total]


def at_least(x: Tensor, samples: int) -> Tensor:
    """Extend signals [B, T] by zeros to so many samples where they are shorter.

    Example
    -------
    >>> at_least(torch.ones(1, 2), 3), at_least(torch.ones(1, 2), 1)
    (tensor([[1., 1., 0.]]), tensor([[1., 1.]]))
    """
    more: Any = (samples - torch.as_tensor(x.shape[1])).clamp(min=0)
    return F.pad(x, (0, more))


def with_matrices(model: nn.Module) -> nn.Module:
    """A copy of a network whose STFT is one of matrices, and whose shortest signal does not depend on an example.

    Example
    -------
    >>> from lobes.models import get_model
    >>> type(with_matrices(get_model("spmamba_tiny")).stft).__name__
    'MatrixSTFT'
    """
    changed: Any = copy.deepcopy(model)
    if isinstance(changed, SpectralModel):
        stft = changed.stft
        changed.stft = MatrixReflectedSTFT(stft) if isinstance(stft, ReflectedSTFT) else MatrixSTFT(stft)
    if isinstance(changed, MaskingSeparator):
        extend, shortest = changed._extend, changed.kernel_size + (changed.min_frames - 1) * changed.stride
        vars(changed)["_extend"] = lambda x: extend(at_least(x, shortest))
    return changed


def _parts(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    return spectrum.real, spectrum.imag
