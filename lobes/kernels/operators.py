"""Operators of PyTorch from plain functions, and constants of a trace, without PyTorch's compiler.

`torch.library.custom_op` and `torch.compiler.assume_constant_result` do the same, but import `torch._dynamo`: a second
and 130 MB more in every process that separates a file and compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])
Keep = Callable[[Any, tuple[Any, ...], Any], None]
Gradient = Callable[..., Any]
_LIBRARY = torch.library.Library("lobes", "FRAGMENT")  # its registrations live as long as it does
_FUNCTIONS: dict[str, Callable[..., Any]] = {}  # by the names of their operators
_RUNS: dict[str, Callable[..., Any]] = {}  # the same with their gradients, past the dispatcher
_KEY = torch._C.DispatchKey
_PLAIN = (_KEY.CPU, _KEY.CUDA)
# What the dispatcher does for every tensor: gradients, which are done here, and what leaves these operators alone.
_USUAL = (_KEY.AutogradCPU, _KEY.ADInplaceOrView, _KEY.BackendSelect, _KEY.AutocastCPU, _KEY.AutocastCUDA)
_UNUSUAL = torch._C._dispatch_keyset_full()
for _key in _USUAL:
    _UNUSUAL = _UNUSUAL.remove(_key)


def operator(name: str, signature: str, differentiable: bool = False) -> Callable[[Function], Function]:
    """Make a function the operator `lobes::name` on every device.

    Its form for tensors without values is registered by `torch.library.register_fake`, its gradient by
    `differentiate`.

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

    def keep_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    def register(function: Function) -> Function:
        _FUNCTIONS[name] = function
        torch.library.define(qualified, signature)
        torch.library.impl(qualified, "default", function)
        if not differentiable:
            differentiate(name, keep_nothing, refuse)
        return function

    return register


def differentiate(name: str, keep: Keep, gradient: Gradient) -> None:
    """Register the gradient of the operator `lobes::name`, as `torch.library.register_autograd` does.

    That function looks at the operator's signature in every call, which for 15 arguments takes the host 0.1 ms: more
    than a small scan takes a GPU. Here no argument may have a default, and the signature is not looked at.

    Arguments
    ---------
    name : str
        Of the operator.
    keep : callable
        (ctx, inputs, output): keeps in `ctx` what the gradient needs.
    gradient : callable
        (ctx, *gradients of the outputs) -> gradients of the inputs.

    Example
    -------
    >>> @operator("cube", "(Tensor x) -> Tensor", differentiable=True)
    ... def cube(x):
    ...     return x**3
    >>> keep = lambda ctx, inputs, output: ctx.save_for_backward(*inputs)
    >>> differentiate("cube", keep, lambda ctx, g: 3 * ctx.saved_tensors[0] ** 2 * g)
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> torch.autograd.grad(torch.ops.lobes.cube(x), x)
    (tensor(12.),)
    """
    operation, function = getattr(torch.ops.lobes, name).default, _FUNCTIONS[name]

    def below(keys: Any, arguments: tuple[Any, ...]) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operation.redispatch(keys & torch._C._after_autograd_keyset, *arguments)

    class Differentiated(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, keys: Any, *arguments: Any) -> Any:
            output = function(*arguments) if keys is None else below(keys, arguments)
            keep(ctx, arguments, output)
            return output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            found = gradient(ctx, *gradients)
            return (None, *found) if isinstance(found, tuple) else (None, found)

    def run(keys: Any, *arguments: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
            return Differentiated.apply(keys, *arguments)
        return below(keys, arguments)

    apply_directly: Any = super(torch.autograd.Function, Differentiated).apply  # looks for no transforms

    def run_directly(*arguments: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
            return apply_directly(None, *arguments)
        return function(*arguments)

    _LIBRARY.impl(name, run, "Autograd", with_keyset=True)
    _RUNS[name] = run_directly


def caller(name: str) -> Callable[..., Any]:
    """Return a function that calls the operator `lobes::name`, whose first argument is a tensor.

    Where nobody watches, the dispatcher is left out: handing over 15 arguments three times takes it as long as the scan
    takes to find its launches. A mode, a transform, the profiler or a compiler sees the operator.

    Example
    -------
    >>> @operator("half", "(Tensor x) -> Tensor")
    ... def half(x):
    ...     return x / 2
    >>> caller("half")(torch.ones(2))
    tensor([0.5000, 0.5000])
    """
    operation, run = getattr(torch.ops.lobes, name).default, _RUNS[name]

    def call(first: Any, *others: Any) -> Any:
        return (run if is_plain(first) else operation)(first, *others)

    return call


def is_plain(x: Any) -> bool:
    """Whether an operator on this tensor would reach its function on CPU or CUDA with nothing in between.

    Example
    -------
    >>> is_plain(torch.ones(2)), is_plain(torch.ones(2, device="meta"))
    (True, False)
    """
    if torch.compiler.is_compiling() or torch.autograd._profiler_enabled():
        return False
    keys = torch._C._dispatch_keys(x) | torch._C._dispatch_tls_local_include_set()
    return (keys & _UNUSUAL).highestPriorityTypeId() in _PLAIN


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
