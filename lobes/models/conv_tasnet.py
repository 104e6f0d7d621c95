"""ConvTasNet for streams: causal convolutions and cumulative norms.

B batch, N filters, L frames, C channels, S sources.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.dual_path import Decoder, Encoder
from torch import Tensor, nn

from lobes.models.base.contract import check_streams
from lobes.models.base.masking_stream import MaskingStream
from lobes.models.masking import MaskingSeparator
from lobes.nnet.banded import cumulative_norm
from lobes.nnet.memory import Memory, behind_past
from lobes.nnet.precision import at_least_fp32, no_autocast

SMALLEST = 1e-20  # added to the variance of encoded mixtures: so small that their level does not matter
EPS = 1e-8  # in the layers, as in SpeechBrain's blocks


class CausalConvTasNet(MaskingSeparator):
    """ConvTasNet (Luo and Mesgarani 2019, arXiv:1809.07454) in its causal form, with cumulative layer norms (eq. 15).

    The layers are those of SpeechBrain's ConvTasNet (no skip connections, masks through a ReLU), but for two things.
    Its norms see the whole mixture or, for the encoded mixture, a frame alone; all norms here see the frames so far.
    And its causal convolution of dilation d is shifted twice: it sees frames l-3d, l-2d and l-d, where this one, as the
    paper's, sees l-2d, l-d and l.

    Arguments
    ---------
    num_sources : int
        Sources S.
    sample_rate : int
        In Hz. Stored as an attribute; the network does not use it.
    N, L : int
        Filters of the encoder, and their samples; the hop is half of them.
    B, H, P, X, R : int
        Channels between and inside of the blocks, size of their kernels, blocks in a repeat, repeats.

    Example
    -------
    >>> import torch
    >>> model = CausalConvTasNet(N=16, B=8, H=8, X=2, R=1).eval()
    >>> stream, x = model.stream(), torch.rand(1, 500)
    >>> y = [stream.feed(chunk) for chunk in x.split(100, 1)] + [stream.flush()]
    >>> stream.latency_ms, torch.allclose(torch.cat(y, 1), model(x), atol=1e-6)
    (2.0, True)
    """

    def __init__(
        self,
        num_sources: int = 2,
        sample_rate: int = 8000,
        N: int = 256,
        L: int = 16,
        B: int = 256,
        H: int = 512,
        P: int = 3,
        X: int = 6,
        R: int = 4,
    ) -> None:
        encoder, decoder = Encoder(L, N), Decoder(N, 1, L, stride=L // 2, bias=False)
        masknet = CausalMaskNet(N, B, H, P, X, R, num_sources)
        super().__init__(encoder, masknet, decoder, num_sources, sample_rate, L, causal=True)

    @property
    def lookahead(self) -> int:
        """Number of future samples that an output sample may depend on."""
        return self.kernel_size - 1

    def stream(self) -> MaskingStream:
        """Start a stream, in which signals come in chunks; the model must be in evaluation mode.

        Raises
        ------
        UserError
            If the model is in training mode.
        """
        check_streams(self)
        return MaskingStream(self)


class CausalMaskNet(nn.Module):
    """The mask network of `CausalConvTasNet`, whose arguments these are.

    Example
    -------
    >>> import torch
    >>> CausalMaskNet(16, 8, 8, 3, 2, 1, 2)(torch.rand(3, 16, 50)).shape
    torch.Size([2, 3, 16, 50])
    """

    def __init__(self, N: int, B: int, H: int, P: int, X: int, R: int, num_sources: int) -> None:
        super().__init__()
        self.num_sources = num_sources
        self.norm = CumulativeNorm(N, SMALLEST)
        self.bottleneck = nn.Linear(N, B, bias=False)
        self.blocks = nn.ModuleList(TemporalBlock(B, H, P, 2**x) for _ in range(R) for x in range(X))
        self.masks = nn.Linear(B, num_sources * N, bias=False)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """Return masks [S, B, N, L] for encoded mixtures `x` [B, N, L]; with a `memory`, for a chunk of a stream."""
        x = self.bottleneck(self.norm(x.transpose(1, 2), memory))  # [B, L, C]
        for block in self.blocks:
            x = block(x, memory)
        masks = F.relu(self.masks(x))  # [B, L, S N]
        return masks.unflatten(2, (self.num_sources, -1)).permute(2, 0, 3, 1)  # [S, B, N, L]


class TemporalBlock(nn.Module):
    """x + a depthwise convolution over past frames between two linear maps, each behind PReLU and norm.

    Arguments
    ---------
    outer, inner : int
        Channels outside and inside.
    kernel_size, dilation : int
        Of the convolution.

    Example
    -------
    >>> import torch
    >>> TemporalBlock(8, 16, 3, 2)(torch.rand(3, 50, 8)).shape
    torch.Size([3, 50, 8])
    """

    def __init__(self, outer: int, inner: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.past = dilation * (kernel_size - 1)
        self.widen = nn.Sequential(nn.Linear(outer, inner, bias=False), nn.PReLU())
        self.norm = CumulativeNorm(inner, EPS)
        self.conv = nn.Conv1d(inner, inner, kernel_size, dilation=dilation, groups=inner, bias=False)
        self.activation = nn.PReLU()
        self.conv_norm = CumulativeNorm(inner, EPS)
        self.narrow = nn.Linear(inner, outer, bias=False)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, C]; with a `memory`, over a chunk of a stream."""
        y = behind_past(self.norm(self.widen(x), memory), self.past, 1, memory, self.conv)
        y = self.activation(self.conv(y.transpose(1, 2)).transpose(1, 2))
        return x + self.narrow(self.conv_norm(y, memory))


class CumulativeNorm(nn.Module):
    """Layer norm over the channels of all frames so far (cLN of ConvTasNet's paper), with fp64 sums.

    Example
    -------
    >>> import torch
    >>> norm, x = CumulativeNorm(8, 1e-8), torch.rand(2, 5, 8)
    >>> torch.equal(norm(x[:, :3]), norm(x)[:, :3])
    True
    """

    def __init__(self, n_channels: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n_channels)), nn.Parameter(torch.zeros(n_channels))
        self.eps = eps

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """Normalise `x` [B, L, C], with a `memory` a chunk of a stream; the result is at least fp32."""
        with no_autocast(x):
            y = cumulative_norm(at_least_fp32(x)[:, :, None], None, self.eps, memory, self)[:, :, 0]
            return y * self.weight + self.bias
