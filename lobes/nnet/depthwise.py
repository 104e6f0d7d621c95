"""Depthwise convolution over time with SiLU, channels last. B batch, L steps, D channels, K taps."""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.kernels.compiled import check_small_call, keep_compiled
from lobes.kernels.operators import constant_of_trace, differentiate, operator

logger = logging.getLogger(__name__)

_INPUTS = "Tensor x, Tensor weight, Tensor bias, bool reverse"


def conv_silu(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """Convolve each channel over time, causally, or anti-causally with the kernel turned round; then apply SiLU.

    On the CPU one compiled pass does both, as the operator `lobes::conv_silu` of PyTorch, for inputs in float32 and in
    bfloat16, whose weights may be float32; elsewhere, and where that pass does not work, `conv_silu_reference` runs.

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
    fits = weight.dtype == bias.dtype and weight.dtype in (torch.float32, x.dtype)
    if x.device.type == "cpu" and fits and _works(x.dtype):
        return torch.ops.lobes.conv_silu(x, weight, bias, reverse)
    return conv_silu_reference(x, weight, bias, reverse)


def conv_silu_reference(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """The same through `torch.nn.functional.conv1d`, slow and readable: what the compiled pass is tested against.

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


@cache
def engine() -> ModuleType | None:
    """The compiled convolution, imported and compared with the reference at first use; None where it does not work.

    Example
    -------
    >>> engine().__name__
    'lobes.kernels.depthwise_engine'
    """
    try:
        from lobes.kernels import depthwise_engine

        keep_compiled(depthwise_engine.KERNELS, depthwise_engine.SOURCES)
        check_small_call(depthwise_engine.__name__, lambda: _small_call(depthwise_engine), lambda: _small_call(None))
    except Exception as error:  # numba may be broken in any way, or its inner parts may have changed
        logger.warning("The compiled convolution does not work here (%s): PyTorch's own, which is slower, runs.", error)
        return None
    return depthwise_engine


def _small_call(module: ModuleType | None) -> list[Tensor]:
    """Output and all gradients of a small convolution; by the reference if there is no module."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 5, 35), (35, 1, 4), (35,), (2, 5, 35)]
    x, weight, bias, gy = (torch.randn(shape, generator=generator, dtype=torch.float32) for shape in shapes)
    if module is not None:
        return [module.forward(x, weight, bias, True), *module.backward(gy, x, weight, bias, True)]
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    y = conv_silu_reference(x, weight, bias, reverse=True)
    return [y.detach(), *torch.autograd.grad((y * gy).sum(), leaves)]  # gradients of a scalar import no sympy


@constant_of_trace
def _works(dtype: torch.dtype) -> bool:
    """Whether there is an engine for rows of this type; torch.compile asks once, while it traces."""
    if dtype not in (torch.float32, torch.bfloat16) or engine() is None:
        return False
    return dtype == torch.float32 or _half_rows_work()


def _half_rows_work() -> bool:
    from lobes.kernels.half_rows import half_rows_work  # with it comes numba

    return half_rows_work()


@operator("conv_silu", f"({_INPUTS}) -> Tensor", differentiable=True)
def _forward(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    return engine().forward(x, weight.float(), bias.float(), reverse)  # type: ignore[union-attr]


@torch.library.register_fake("lobes::conv_silu")
def _(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    return x.new_empty(x.shape)


@operator("conv_silu_backward", f"(Tensor gy, {_INPUTS}) -> (Tensor, Tensor, Tensor)")
def _backward(gy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    gx, gweight, gbias = engine().backward(gy, x, weight.float(), bias.float(), reverse)  # type: ignore[union-attr]
    return gx, gweight.to(weight.dtype), gbias.to(bias.dtype)


@torch.library.register_fake("lobes::conv_silu_backward")
def _(gy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> tuple[Tensor, ...]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in (x, weight, bias))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.reverse = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *torch.ops.lobes.conv_silu_backward(gy, *ctx.saved_tensors, ctx.reverse), None


differentiate("conv_silu", _keep, _differentiate)
