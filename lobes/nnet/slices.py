"""Slices of a tensor, one after another, where no gradients are wanted: less memory, and data stay in caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

# Numbers that a layer makes of its input. Slices of SLICE are large enough to be worth their calls, and small enough
# for caches; cutting less than WHOLE costs more time than caches give back.
SLICE, WHOLE = 2**18, 2**19
_UNCUT = ContextVar("_UNCUT", default=False)


@contextmanager
def uncut() -> Iterator[None]:
    """Let layers see all at once, where calls count and bytes do not: a slice is one more call of each operation.

    Example
    -------
    >>> with uncut(), torch.no_grad():
    ...     in_slices(lambda part: part[:, :1], torch.rand(2**11, 2**10), 0).shape
    torch.Size([2048, 1])
    """
    token = _UNCUT.set(True)
    try:
        yield
    finally:
        _UNCUT.reset(token)


def in_slices(layer: Callable[[Tensor], Tensor], x: Tensor, dim: int, size: int = SLICE, expansion: int = 1) -> Tensor:
    """Apply a layer that never mixes positions along `dim`, and keeps their number, a few positions at a time.

    With gradients, on a GPU, where PyTorch traces or compiles, and within `uncut`, the layer sees all at once.

    Arguments
    ---------
    layer : callable
        From a tensor to one with as many dimensions, of the same type.
    x : Tensor
        Its input.
    dim : int
        The dimension that is cut.
    size : int
        Numbers that the layer makes of a slice, at most.
    expansion : int
        Numbers that the layer makes of one: the more, the sooner slices pay.

    Returns
    -------
    Tensor
        What `layer(x)` is, bit for bit where the layer's matrix products do not depend on the number of rows.

    Example
    -------
    >>> x = torch.rand(2, 3000, 5, 64)
    >>> with torch.no_grad():
    ...     bool(torch.equal(in_slices(torch.sin, x, 1), x.sin()))
    True
    """
    if x.numel() * expansion <= WHOLE or torch.is_grad_enabled() or x.device.type != "cpu" or _is_one_piece():
        return layer(x)
    most = max(size * x.shape[dim] // (x.numel() * expansion), 1)
    positions = -(-x.shape[dim] // -(-x.shape[dim] // most))  # slices of one size: products of few rows round otherwise
    y = None
    for start in range(0, x.shape[dim], positions):
        count = min(positions, x.shape[dim] - start)
        part = layer(x.narrow(dim, start, count))
        if y is None:
            y = part.new_empty((*part.shape[:dim], x.shape[dim], *part.shape[dim + 1 :]))
        y.narrow(dim, start, count).copy_(part)
    assert y is not None  # there is at least one position
    return y


def _is_one_piece() -> bool:
    return torch.jit.is_tracing() or torch.compiler.is_compiling() or _UNCUT.get()
