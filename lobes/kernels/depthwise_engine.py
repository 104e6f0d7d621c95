"""The kernels of the depthwise convolution between tensors: blocked copies of taps and bias, addresses of the rest.

B batch, L steps, D channels, K taps. Everything is on the CPU: weights are float32, rows float32 or bfloat16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.kernels import depthwise as kernels
from lobes.kernels import memory, simd, simd_math
from lobes.kernels.memory import address, dense, rows
from lobes.kernels.simd import LANES
from lobes.kernels.threads import run, split, workers_for

EXPONENTS = 2  # a channel's step costs about as much as so many state updates of the scan
KERNELS = (kernels.forward, kernels.backward)
SOURCES = (memory, simd, simd_math, kernels)  # what they are compiled from


class Convolution:
    """A convolution as the kernels see it; it also keeps alive what they have addresses of.

    Arguments
    ---------
    x, weight, bias : Tensor
        [B, L, D], [D, 1, K] and [D].
    reverse : bool
        Run from the end to the start.
    """

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> None:
        channels, _, width = weight.shape
        blocks = -(-channels // LANES)
        spare = blocks * LANES - channels
        self.x = dense(x)
        taps = weight.flatten(1)  # [D, K]
        if spare:
            taps, bias = F.pad(taps, (0, 0, 0, spare)), F.pad(bias, (0, spare))
        self.taps = taps.view(blocks, LANES, width).transpose(1, 2).contiguous()  # [blocks, K, LANES]
        self.bias = bias.contiguous()  # [blocks LANES]
        places = (rows(self.x), address(self.taps), address(self.bias))
        self.view = kernels.ConvInputs(*places, x.shape[1], channels, width, blocks, reverse)
        self.workers = max(1, min(workers_for(EXPONENTS * x.numel()), x.shape[0]))
        self.shares = split(x.shape[0] * blocks, self.workers)

    def new_rows(self) -> Tensor:
        """A contiguous tensor [B, L, D] that a kernel fills."""
        return torch.empty_like(self.x, memory_format=torch.contiguous_format)


def forward(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    """Return silu(convolution of x) [B, L, D]."""
    c = Convolution(x, weight, bias, reverse)
    y = c.new_rows()
    out = rows(y)
    run(c.workers, c.shares, lambda a, b, *_: kernels.forward(a, b, c.view, out))
    return y


def backward(gy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight and bias."""
    c, gy = Convolution(x, weight, bias, reverse), dense(gy)
    gx, inner = c.new_rows(), weight.new_empty(c.workers, x.shape[1], LANES)
    gtaps, gbias = (tensor.new_zeros(len(c.shares), *tensor.shape) for tensor in (c.taps, c.bias))
    g = kernels.ConvGradients(rows(gy), rows(gx), address(gtaps), address(gbias))
    run(c.workers, c.shares, lambda a, b, w, i: kernels.backward(a, b, i, inner[w].data_ptr(), c.view, g))
    gtaps = gtaps.sum(0).transpose(1, 2).flatten(0, 1)[: weight.shape[0]]  # [D, K]
    return gx, gtaps[:, None], gbias.sum(0).flatten()[: weight.shape[0]]
