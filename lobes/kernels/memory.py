"""Tensors in memory as kernels find them: plain addresses in bytes, and rows with their distances.

B batch, L steps, D channels, N state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """A float32 tensor [B, L, D or N] in memory; its last dimension is contiguous."""

    start: int  # address
    item: int  # bytes from an item to the next
    step: int  # bytes from a step to the next


class HalfRows(NamedTuple):
    """The same of a bfloat16 tensor: kernels are compiled once more for this type."""

    start: int
    item: int
    step: int


AnyRows = Rows | HalfRows


def rows(tensor: Tensor) -> AnyRows:
    """The place of the rows of a float32 or bfloat16 tensor [B, L, ...]; its last dimension must be contiguous.

    Example
    -------
    >>> import torch
    >>> x = torch.zeros(2, 5, 7)
    >>> rows(x[:, :, 2:6]) == (x.data_ptr() + 8, 140, 28)
    True
    >>> type(rows(x.bfloat16())).__name__
    'HalfRows'
    """
    size = tensor.element_size()
    item, step, _ = tensor.stride()
    return (HalfRows if size == 2 else Rows)(tensor.data_ptr(), size * item, size * step)


def address(tensor: Tensor | None) -> int:
    """The address at which a tensor begins; 0 for none.

    Example
    -------
    >>> address(None)
    0
    """
    return 0 if tensor is None else tensor.data_ptr()


def dense(tensor: Tensor) -> Tensor:
    """The tensor itself if its last dimension is contiguous, as in a slice of channels; else a copy.

    Example
    -------
    >>> import torch
    >>> x = torch.zeros(2, 5, 8)
    >>> dense(x[..., :4]).is_contiguous(), dense(x.mT).is_contiguous()
    (False, True)
    """
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def readable(tensor: Tensor) -> bool:
    """Whether values can be read without waiting for a device or breaking a compiled graph.

    Example
    -------
    >>> readable(torch.ones(2)), readable(torch.ones(2, device="meta"))
    (True, False)
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
