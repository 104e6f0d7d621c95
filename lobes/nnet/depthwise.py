"""Depthwise convolution over time of signals with channels last. B batch, L steps, D channels, K taps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """Convolve each channel over time, causally, or anti-causally with the kernel turned round.

    On the CPU it adds K scaled copies of the input, in place; elsewhere `depthwise_conv_reference` runs.

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
    >>> x = torch.ones(1, 3, 1)
    >>> depthwise_conv(x, torch.ones(1, 1, 2), torch.zeros(1)).flatten()
    tensor([1., 2., 2.])
    >>> depthwise_conv(x, torch.ones(1, 1, 2), torch.zeros(1), reverse=True).flatten()
    tensor([2., 2., 1.])
    """
    same_type = x.dtype == weight.dtype == bias.dtype and not torch.is_autocast_enabled(x.device.type)
    if x.device.type == "cpu" and same_type and not torch.compiler.is_compiling():
        return _ShiftedSum.apply(x, weight, bias, reverse)
    return depthwise_conv_reference(x, weight, bias, reverse)


def depthwise_conv_reference(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """The same through `torch.nn.functional.conv1d`.

    Example
    -------
    >>> depthwise_conv_reference(torch.ones(2, 5, 4), torch.ones(4, 1, 3), torch.zeros(4)).shape
    torch.Size([2, 5, 4])
    """
    pad, length = weight.shape[-1] - 1, x.shape[1]
    weight = weight.flip(-1) if reverse else weight
    y = F.conv1d(x.transpose(1, 2), weight, bias, padding=pad, groups=weight.shape[0])  # [B, D, L + pad]
    return (y[..., pad:] if reverse else y[..., :length]).transpose(1, 2)  # [B, L, D]


class _ShiftedSum(torch.autograd.Function):
    """y[t] = bias + sum over k of weight[k] x[t + k - K + 1], or x[t + K - 1 - k] in reverse."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:  # type: ignore[override]
        padded, taps = _pad(x, weight.shape[-1] - 1, reverse), _taps(weight, reverse)
        y = torch.addcmul(bias, padded[:, : x.shape[1]], taps[0])
        for k in range(1, len(taps)):
            y.addcmul_(padded[:, k : k + x.shape[1]], taps[k])
        ctx.save_for_backward(padded, weight)
        ctx.reverse = reverse  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor):  # type: ignore[override]
        padded, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        reverse, length = ctx.reverse, grad.shape[1]  # type: ignore[attr-defined]
        # the gradient passes through the same convolution in the other direction
        taps, behind = _taps(weight, not reverse), _pad(grad, weight.shape[-1] - 1, not reverse)
        grad_x = behind[:, :length] * taps[0]
        for k in range(1, len(taps)):
            grad_x.addcmul_(behind[:, k : k + length], taps[k])
        room = torch.empty_like(grad_x)
        grad_taps = [
            torch.mul(grad, padded[:, k : k + length], out=room).flatten(0, 1).sum(0) for k in range(len(taps))
        ]  # K times [D]
        grad_weight = torch.stack(grad_taps[::-1] if reverse else grad_taps, -1)[:, None]  # [D, 1, K]
        return grad_x, grad_weight, grad.flatten(0, 1).sum(0), None


def _taps(weight: Tensor, reverse: bool) -> Tensor:
    """[D, 1, K] -> [K, D] in the order of the input's shifts."""
    taps = weight[:, 0].t()
    return taps.flip(0) if reverse else taps


def _pad(x: Tensor, pad: int, reverse: bool) -> Tensor:
    return F.pad(x, (0, 0, 0, pad) if reverse else (0, 0, pad, 0))
