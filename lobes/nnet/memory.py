"""What a causal network keeps of the past from one chunk of a stream to the next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Memory(dict[nn.Module, Any]):
    """The past of one stream: for each layer that looks back, what it needs of the steps before.

    A layer that is given a memory goes on where its last call ended, and leaves there what its next call needs. Without
    a memory a sequence starts and ends with the call. The mathematics are the same: a whole sequence is one chunk.

    Example
    -------
    >>> memory, layer = Memory(), nn.Identity()
    >>> behind_past(torch.ones(1, 3), 2, 1, memory, layer)
    tensor([[0., 0., 1., 1., 1.]])
    >>> behind_past(torch.zeros(1, 1), 2, 1, memory, layer)
    tensor([[1., 1., 0.]])
    """


def behind_past(x: Tensor, steps: int, dim: int, memory: Memory | None, layer: nn.Module) -> Tensor:
    """Put `x` behind the last `steps` of what `layer` had before it along `dim`; behind zeros at the start.

    The memory then holds the last `steps` of the result.

    Example
    -------
    >>> behind_past(torch.ones(1, 2), 1, 1, None, nn.Identity())
    tensor([[0., 1., 1.]])
    """
    past = None if memory is None else memory.get(layer)
    if past is None:
        past = x.new_zeros(*x.shape[:dim], steps, *x.shape[dim + 1 :])
    x = torch.cat((past, x), dim)
    if memory is not None:  # a copy: a view would keep the whole chunk
        memory[layer] = x.narrow(dim, x.shape[dim] - steps, steps).clone()
    return x
