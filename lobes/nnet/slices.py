"""Slices of a tensor, one after another, where no gradients are wanted: less memory, and data stay in caches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Numbers of the input. Cutting less than WHOLE into slices costs more time than the caches give back.
SLICE, WHOLE = 2**15, 2**20


def in_slices(layer: Callable[[Tensor], Tensor], x: Tensor, dim: int, size: int = SLICE) -> Tensor:
    """Apply a layer that keeps shapes and never mixes positions along `dim`, a few of these positions at a time.

    With gradients, on a GPU, and where PyTorch traces or compiles, the layer sees all at once.

    Arguments
    ---------
    layer : callable
        From a tensor to one of the same shape and type.
    x : Tensor
        Its input.
    dim : int
        The dimension that is cut.
    size : int
        Numbers of the input in a slice.

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
    if x.numel() <= WHOLE or torch.is_grad_enabled() or x.device.type != "cpu" or _is_traced():
        return layer(x)
    positions = max(size * x.shape[dim] // x.numel(), 1)
    y = torch.empty_like(x)
    for start in range(0, x.shape[dim], positions):
        count = min(positions, x.shape[dim] - start)
        y.narrow(dim, start, count).copy_(layer(x.narrow(dim, start, count)))
    return y


def _is_traced() -> bool:
    return torch.jit.is_tracing() or torch.compiler.is_compiling()
