"""The graph of a whole signal: mixtures of any length and number to what a separator gives for them.

B batch, T samples, S sources.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.level import WEAKEST, fitting_gains, products
from lobes.nnet.mixers.mamba2 import Mamba2
from lobes.nnet.mixers.mlstm import MLSTM
from lobes.onnx.tracing import graph_of
from lobes.onnx.transforms import with_matrices

SWEEPS = 6  # of Jacobi's rotations: each doubles the digits, and two sources need one rotation


class AtMixtureLevel(nn.Module):
    """A network and the level that fits the mixture best, as `Separator.separate_batch` gives it.

    Arguments
    ---------
    model : nn.Module
        In evaluation mode.

    Example
    -------
    >>> from lobes.models import get_model
    >>> model = get_model("convtasnet_tiny", N=16, B=8, H=8, X=2, R=1).eval()
    >>> AtMixtureLevel(model)(torch.randn(2, 900)).shape
    torch.Size([2, 900, 2])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = with_matrices(model)

    def forward(self, mix: Tensor) -> Tensor:
        """Separate `mix` [B, T] to [B, T, S]."""
        estimates = self.model(mix)
        gains = fitting_gains(products(estimates, mix), inverse=inverse_by_rotations)
        return estimates * gains.to(estimates.dtype)[:, None]


def inverse_by_rotations(power: Tensor) -> Tensor:
    """`lobes.nnet.level.pseudo_inverse` by Jacobi's rotations: ONNX has no decomposition of a matrix.

    Example
    -------
    >>> power = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
    >>> torch.allclose(inverse_by_rotations(power), power.inverse())
    True
    """

    size = int(power.shape[-1])
    unit = torch.eye(size, dtype=power.dtype)
    diagonal, vectors = power, unit.expand_as(power)
    pairs = list(combinations(range(size), 2))
    for p, q in pairs * (SWEEPS if len(pairs) > 1 else 1):
        rotation = _rotation(diagonal, p, q, unit)
        diagonal = rotation.transpose(1, 2) @ diagonal @ rotation
        vectors = vectors @ rotation
    values = (diagonal * unit).sum(-1)  # [B, S]
    strong = values.abs() > WEAKEST * values.abs().amax(-1, keepdim=True)
    scales = torch.where(strong, 1 / torch.where(strong, values, torch.ones_like(values)), torch.zeros_like(values))
    return (vectors * scales[:, None]) @ vectors.transpose(1, 2)


def _rotation(matrix: Tensor, p: int, q: int, unit: Tensor) -> Tensor:
    """The rotation [B, S, S] of two axes after which their element off the diagonal is zero."""
    off = matrix[:, p, q]
    there = off != 0
    ratio = (matrix[:, q, q] - matrix[:, p, p]) / (2 * torch.where(there, off, torch.ones_like(off)))
    sign = torch.where(ratio >= 0, torch.ones_like(ratio), -torch.ones_like(ratio))
    tangent = torch.where(there, sign / (ratio.abs() + (1 + ratio * ratio).sqrt()), torch.zeros_like(off))
    cosine = 1 / (1 + tangent * tangent).sqrt()
    along, across = unit[:, p : p + 1] @ unit[p : p + 1] + unit[:, q : q + 1] @ unit[q : q + 1], _turn(unit, p, q)
    return unit + (cosine - 1)[:, None, None] * along + (tangent * cosine)[:, None, None] * across


def _turn(unit: Tensor, p: int, q: int) -> Tensor:
    return unit[:, p : p + 1] @ unit[q : q + 1] - unit[:, q : q + 1] @ unit[p : p + 1]


def refuse_chunks(model: nn.Module) -> None:
    """Raise UserError for mixers that run in chunks: a graph would keep the number of chunks of its example.

    Example
    -------
    >>> refuse_chunks(nn.Linear(2, 2))
    """
    found = {type(part).__name__ for part in model.modules() if isinstance(part, Mamba2 | MLSTM)}
    if found:
        raise UserError(
            f"{type(model).__name__}: cannot be written as ONNX with the mixer {', '.join(sorted(found))}, "
            "which runs in chunks; export without --onnx, or take another mixer"
        )


def whole_graph(model: Any) -> Any:
    """Make the graph of a model: `mix` [B, T] to `estimates` [B, T, S].

    Arguments
    ---------
    model : nn.Module
        In evaluation mode, without gradients.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    UserError
        If the network cannot be written as a graph.
    """
    refuse_chunks(model)
    if getattr(model, "one_by_one", False):
        raise UserError(
            f"{type(model).__name__}: cannot be written as ONNX: its mask network mixes the items of "
            "a batch (one_by_one)"
        )
    size = getattr(model, "kernel_size", 0) + (getattr(model, "min_frames", 1) + 3) * getattr(model, "stride", 0)
    example = torch.randn(2, max(model.sample_rate // 4, size) + 1, generator=torch.Generator().manual_seed(0))
    sizes = {"mix": {0: "batch", 1: "samples"}, "estimates": {0: "batch", 1: "samples"}}
    return graph_of(AtMixtureLevel(model), [example], ["mix"], ["estimates"], sizes)
