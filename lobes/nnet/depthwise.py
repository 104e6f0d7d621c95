"""Depthwise convolution over time with SiLU, channels last. B batch, L steps, D channels, K taps."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from lobes.kernels.threads import run, split, workers_for
from lobes.scan.cpu import numba_backend
from lobes.scan.inputs import dense

EXPONENTS = 2  # a channel's step costs about as much as so many state updates of the scan


def conv_silu(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """Convolve each channel over time, causally, or anti-causally with the kernel turned round; then apply SiLU.

    In float32 on the CPU one compiled pass does both; elsewhere, and without numba, `conv_silu_reference` runs.

    Arguments
    ---------
    x : Tensor
        Input [B, L, D], also a strided view.
    weight : Tensor
        Kernels [D, 1, K], last tap at the current step, as in a causal `torch.nn.Conv1d`.
    bias : Tensor
        [D].
    reverse : bool
        Run from the end to the start.

    Returns
    -------
    Tensor
        [B, L, D].

    Example
    -------
    >>> conv_silu(torch.ones(2, 5, 4), torch.ones(4, 1, 3), torch.zeros(4)).shape
    torch.Size([2, 5, 4])
    """
    float32 = x.dtype == weight.dtype == bias.dtype == torch.float32
    if x.device.type == "cpu" and float32 and not torch.compiler.is_compiling() and _kernels() is not None:
        return _ConvSilu.apply(x, weight, bias, reverse)
    return conv_silu_reference(x, weight, bias, reverse)


def conv_silu_reference(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """The same through `torch.nn.functional.conv1d`.

    Example
    -------
    >>> x = torch.ones(1, 3, 1)
    >>> conv_silu_reference(x, torch.ones(1, 1, 2), torch.zeros(1)).flatten().round(decimals=2)
    tensor([0.7300, 1.7600, 1.7600])
    >>> conv_silu_reference(x, torch.ones(1, 1, 2), torch.zeros(1), reverse=True).flatten().round(decimals=2)
    tensor([1.7600, 1.7600, 0.7300])
    """
    pad, length = weight.shape[-1] - 1, x.shape[1]
    weight = weight.flip(-1) if reverse else weight
    y = F.conv1d(x.transpose(1, 2), weight, bias, padding=pad, groups=weight.shape[0])  # [B, D, L + pad]
    return F.silu((y[..., pad:] if reverse else y[..., :length]).transpose(1, 2))  # [B, L, D]


class _ConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
        kernels, y = _kernels(), torch.empty_like(x, memory_format=torch.contiguous_format)
        p, held = _problem(x, weight, bias, reverse)
        workers, rows = _workers(x), _rows(y)
        run(workers, split(x.shape[0] * p.blocks, workers), lambda a, b, *_: kernels.forward(a, b, p, rows))
        ctx.save_for_backward(x, weight, bias)
        ctx.reverse = reverse
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        kernels, workers, gy = _kernels(), _workers(x), dense(gy)
        p, held = _problem(x, weight, bias, ctx.reverse)
        gx = torch.empty_like(x, memory_format=torch.contiguous_format)
        shares = split(x.shape[0] * p.blocks, workers)
        gtaps, gbias = (tensor.new_zeros(len(shares), *tensor.shape) for tensor in held[1:])
        inner = x.new_empty(workers, p.steps, held[2].shape[-1])
        g = kernels.Gradients(_rows(gy), _rows(gx), gtaps.data_ptr(), gbias.data_ptr())
        run(workers, shares, lambda a, b, w, i: kernels.backward(a, b, i, inner[w].data_ptr(), p, g))
        gtaps = gtaps.sum(0).transpose(1, 2).flatten(0, 1)[: p.channels]  # [D, K]
        return gx, gtaps[:, None], gbias.sum(0).flatten()[: p.channels], None


@cache
def _kernels() -> Any:
    """The module of compiled kernels where the scan's vectors work, else None."""
    if not numba_backend.has_vectors():
        return None
    from lobes.kernels import depthwise as depthwise_kernels
    from lobes.kernels import simd, simd_math

    kernels = (depthwise_kernels.forward, depthwise_kernels.backward)
    numba_backend.keep_compiled(kernels, (simd, simd_math, depthwise_kernels))
    return depthwise_kernels


def _problem(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> tuple[Any, list[Tensor]]:
    """The kernels' view of the inputs, and the tensors x, taps, bias that it has addresses of."""
    from lobes.kernels.simd import LANES

    channels, _, width = weight.shape
    blocks = -(-channels // LANES)
    spare = blocks * LANES - channels
    taps = F.pad(weight.detach()[:, 0], (0, 0, 0, spare)).unflatten(0, (blocks, LANES)).transpose(1, 2).contiguous()
    held = [dense(x), taps, F.pad(bias.detach(), (0, spare)).view(blocks, LANES)]
    places = (_rows(held[0]), taps.data_ptr(), held[2].data_ptr())
    return _kernels().Problem(*places, x.shape[1], channels, width, blocks, reverse), held


def _rows(tensor: Tensor) -> Any:
    from lobes.scan.cpu.vector_engine import rows

    return rows(tensor)


def _workers(x: Tensor) -> int:
    return max(1, min(workers_for(EXPONENTS * x.numel()), x.shape[0]))
