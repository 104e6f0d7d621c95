"""Operators of PyTorch from plain functions, and constants of a trace, without PyTorch's compiler.

`torch.library.custom_op` and `torch.compiler.assume_constant_result` do the same, but import `torch._dynamo`: a second
and 130 MB more in every process that separates a file and compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def operator(name: str, signature: str, differentiable: bool = False) -> Callable[[Function], Function]:
    """Make a function the operator `lobes::name` on every device.

    Its form for tensors without values is registered by `torch.library.register_fake`, its gradient by
    `torch.library.register_autograd`.

    Arguments
    ---------
    name : str
        Of the operator.
    signature : str
        Of its inputs and outputs, in PyTorch's words. It changes no input, and no output is a view of one.
    differentiable : bool
        A gradient is registered. Without one, differentiating is an error and no silent zero.

    Example
    -------
    >>> @operator("twice", "(Tensor x) -> Tensor")
    ... def twice(x):
    ...     return 2 * x
    >>> torch.ops.lobes.twice(torch.ones(2))
    tensor([2., 2.])
    """
    qualified = f"lobes::{name}"

    def refuse(ctx: Any, *gradients: Any) -> None:
        raise RuntimeError(f"{qualified} has no gradient.")

    def register(function: Function) -> Function:
        torch.library.define(qualified, signature)
        torch.library.impl(qualified, "default", function)
        if not differentiable:
            torch.library.register_autograd(qualified, refuse)
        return function

    return register


def constant_of_trace(function: Function) -> Function:
    """Let torch.compile call a function once, while it traces, and keep the result.

    Example
    -------
    >>> @constant_of_trace
    ... def cores():
    ...     return 2
    >>> cores()
    2
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # all that PyTorch's own decorator does
    return function
