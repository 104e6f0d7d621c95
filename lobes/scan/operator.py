"""One operator of PyTorch, `lobes::selective_scan`, around the backends that have a backward pass of their own.

torch.compile, torch.export and activation checkpointing see a single node with known shapes, whichever backend runs.
A backend is a module with `forward(x, save, want_last)`, `backward(x, saved, gy, glast)` and `saved_like(x)`. A last
state that nobody wants is an empty tensor, and its gradient None: for short sequences it is as large as the rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lobes.scan.inputs import ScanInputs

MODULES = {
    "torch": "lobes.scan.torch_blocked",
    "numba": "lobes.scan.cpu.numba_backend",
    "triton": "lobes.scan.cuda.triton_backend",
}
_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, "
    "Tensor? initial_state, Tensor? lengths, bool delta_softplus, bool reverse"
)
_TENSORS = 10  # of the inputs; the last, lengths, has no gradient


def operate(x: ScanInputs, backend: str, want_last: bool) -> tuple[Tensor, Tensor]:
    """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x` by one of `MODULES`."""
    y, last, _ = torch.ops.lobes.selective_scan(*_arguments(x), x.needs_grad(), want_last, backend)
    return y, last


def _arguments(x: ScanInputs) -> tuple[Any, ...]:
    tensors = (x.u, x.delta, x.A, x.B, x.C, x.D, x.z, x.delta_bias, x.initial_state, x.lengths)
    return *tensors, x.delta_softplus, x.reverse


def _inputs(arguments: Sequence[Any]) -> ScanInputs:
    *tensors, initial_state, lengths, softplus, reverse = arguments
    return ScanInputs._make([*tensors, softplus, reverse, lengths, initial_state])


@cache
def _module(backend: str) -> ModuleType:
    return importlib.import_module(MODULES[backend])


@torch.library.custom_op(
    "lobes::selective_scan",
    mutates_args=(),
    schema=f"({_INPUTS}, bool save, bool want_last, str backend) -> (Tensor, Tensor, Tensor)",
)
def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *given, save, want_last, backend = arguments
    return _module(backend).forward(_inputs(given), save, want_last)


@_forward.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *given, save, want_last, backend = arguments
    x = _inputs(given)
    saved = _module(backend).saved_like(x) if save else x.u.new_empty(0)
    last = x.A.new_empty(x.u.shape[0], *x.A.shape) if want_last else x.A.new_empty(0)
    return x.u.new_empty(x.u.shape), last, saved


@torch.library.custom_op(
    "lobes::selective_scan_backward",
    mutates_args=(),
    schema=f"(Tensor gy, Tensor glast, Tensor saved, {_INPUTS}, str backend) -> ({', '.join(['Tensor'] * 9)})",
)
def _backward(gy: Tensor, glast: Tensor, saved: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *given, backend = arguments
    return _module(backend).backward(_inputs(given), saved, gy, glast if glast.dim() == 3 else None)


@_backward.register_fake
def _(gy: Tensor, glast: Tensor, saved: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    tensors = arguments[: _TENSORS - 1]
    return tuple(gy.new_empty(0) if tensor is None else tensor.new_empty(tensor.shape) for tensor in tensors)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *arguments, _, _, backend = inputs
    ctx.save_for_backward(*arguments[:_TENSORS], output[2])
    ctx.rest = (*arguments[_TENSORS:], backend)
    ctx.set_materialize_grads(False)  # else zeros are made for the saved states, too


def _differentiate(ctx: Any, gy: Tensor | None, glast: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    *tensors, saved = ctx.saved_tensors
    gy = torch.zeros_like(tensors[0]) if gy is None else gy
    glast = gy.new_empty(0) if glast is None else glast
    grads = torch.ops.lobes.selective_scan_backward(gy, glast, saved, *tensors, *ctx.rest)
    present = [None if tensor is None else grad for tensor, grad in zip(tensors, grads, strict=False)]
    return *present, *[None] * 6


_forward.register_autograd(_differentiate, setup_context=_keep)
