"""One operator of PyTorch, `lobes::selective_scan`, around the backends that have a backward pass of their own.

torch.compile, torch.export and activation checkpointing see a single node with known shapes, whichever backend runs.
The operator is given the name of a backend and looks it up in the registry. A last state that is not wanted is an
empty tensor, and its gradient None.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from lobes.kernels.operators import caller, differentiate, operator
from lobes.scan.backend import Passes
from lobes.scan.inputs import ScanInputs
from lobes.scan.registry import BACKENDS

# In the order of ScanInputs' fields but the last. Ten of them are tensors, of which the last, lengths, has no gradient.
_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, "
    "Tensor? initial_state, Tensor? lengths, bool delta_softplus, bool reverse"
)
_TENSORS = 10


def operate(backend: str, x: ScanInputs, want_last: bool) -> tuple[Tensor, Tensor]:
    """Run the passes of a backend inside the operator; return y [B, L, D] and the last state [B, D, N] if wanted."""
    *arguments, delta_weight = x
    save = x.needs_grad() or torch.jit.is_tracing()  # a traced graph keeps this for ever, and may be trained
    if delta_weight is None:
        y, last, _ = _call(*arguments, save, want_last, backend)
    else:  # nothing watches, and no gradient is wanted
        y, last, _ = _passes(backend).forward(x, False, want_last)
    return y, last


def _passes(backend: str) -> Passes:
    return cast(Passes, BACKENDS[backend])


@operator("selective_scan", f"({_INPUTS}, bool save, bool want_last, str backend) -> (Tensor, Tensor, Tensor)", True)
def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *given, save, want_last, backend = arguments
    return _passes(backend).forward(ScanInputs(*given), save, want_last)


@torch.library.register_fake("lobes::selective_scan")
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *given, save, want_last, backend = arguments
    x = ScanInputs(*given)
    saved = _passes(backend).saved_like(x) if save else x.u.new_empty(0)
    last = x.A.new_empty(x.u.shape[0], *x.A.shape) if want_last else x.A.new_empty(0)
    return x.u.new_empty(x.u.shape), last, saved


@operator(
    "selective_scan_backward",
    f"(Tensor gy, Tensor? glast, Tensor saved, {_INPUTS}, str backend) -> ({', '.join(['Tensor'] * 9)})",
)
def _backward(gy: Tensor, glast: Tensor | None, saved: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *given, backend = arguments
    glast = None if glast is None or glast.dim() != 3 else glast  # a last state that nobody wanted is empty
    return _passes(backend).backward(ScanInputs(*given), saved, gy, glast)


@torch.library.register_fake("lobes::selective_scan_backward")
def _(gy: Tensor, glast: Tensor | None, saved: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    tensors = ScanInputs(*arguments[:-1]).differentiable()
    return tuple(gy.new_empty(0) if tensor is None else tensor.new_empty(tensor.shape) for tensor in tensors)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *arguments, _, _, backend = inputs
    ctx.save_for_backward(*arguments[:_TENSORS], output[2])
    ctx.rest = (*arguments[_TENSORS:], backend)
    ctx.set_materialize_grads(False)  # else zeros are made for the saved states, too


def _differentiate(ctx: Any, gy: Tensor | None, glast: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    *tensors, saved = ctx.saved_tensors
    gy = torch.zeros_like(tensors[0]) if gy is None else gy
    grads = _call_backward(gy, glast, saved, *tensors, *ctx.rest)
    present = [None if tensor is None else grad for tensor, grad in zip(tensors, grads, strict=False)]
    return *present, *[None] * 6


differentiate("selective_scan", _keep, _differentiate)
_call, _call_backward = caller("selective_scan"), caller("selective_scan_backward")
