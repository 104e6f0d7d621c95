"""The optimizer's parameters: groups with and without weight decay, and the mean of gradients over ranks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.distributed import ReduceOp, all_reduce, get_world_size, is_available, is_initialized


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Split the trainable parameters into those with weight decay and those without, as torch optimizers take them.

    Vectors (norms, biases) and parameters tagged `_no_weight_decay` (Mamba's `A_log` and `D`) go into the second group;
    its `weight_decay` is 0.

    Example
    -------
    >>> groups = parameter_groups(nn.Linear(2, 3))
    >>> [len(group["params"]) for group in groups]
    [1, 1]
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            exempt = getattr(parameter, "_no_weight_decay", False) or parameter.ndim < 2
            (free if exempt else decayed).append(parameter)
    return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]


def build_optimizer(
    model: nn.Module, opt_class: Callable[[list[dict[str, object]]], torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Make the optimizer of a model with the right groups (empty groups left out).

    Example
    -------
    >>> type(build_optimizer(nn.Linear(2, 3), torch.optim.Adam)).__name__
    'Adam'
    """
    return opt_class([group for group in parameter_groups(model) if group["params"]])


def average_over_ranks(parameters: list[nn.Parameter]) -> None:
    """Replace the gradients by their mean over the ranks, so that all take the same step; nothing on a single one."""
    if not (is_available() and is_initialized()):
        return
    for parameter in parameters:
        if parameter.grad is not None:
            all_reduce(parameter.grad, op=ReduceOp.SUM)
            parameter.grad /= get_world_size()
