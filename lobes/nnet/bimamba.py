"""Mamba in both directions. B batch, L steps, D channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lobes.nnet.lengths import zero_padding
from lobes.nnet.mamba import Mamba, project_in
from lobes.nnet.norms import RMSNorm
from lobes.nnet.selective import SelectiveCore


class MambaBlock(nn.Module):
    """x + Mamba(RMSNorm(x)), the residual block of one direction. Further arguments are those of `Mamba`.

    Example
    -------
    >>> MambaBlock(8, reverse=True)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, reverse: bool = False, **mamba) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model)
        self.mixer = Mamba(d_model, reverse=reverse, **mamba)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B])."""
        return x + self.mixer(self.norm(x), steps)


class BiMamba(nn.Module):
    """Two independent Mamba blocks, one forward and one backward in time; their outputs are concatenated.

    The bidirectional block of SPMamba (Li et al. 2024, arXiv:2404.02063). The backward block starts at each item's own
    end, so padding never changes an item. Further arguments are those of `Mamba`, the same for both directions.

    Example
    -------
    >>> BiMamba(8, expand=2)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, d_model: int, **mamba) -> None:
        super().__init__()
        self.forward_block = MambaBlock(d_model, **mamba)
        self.backward_block = MambaBlock(d_model, reverse=True, **mamba)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run both directions over `x` [B, L, D]: forward, then backward channels [B, L, 2 D].

        `steps` are valid steps per item, Long [B], or None for all. After an item's end the result is zero.
        """
        x = zero_padding(x, steps)
        return torch.cat((self.forward_block(x, steps), self.backward_block(x, steps)), -1)  # [B, L, 2 D]


class SharedBiMamba(nn.Module):
    """x + both directions of a Mamba that share one input and one output projection, behind an RMS norm.

    The block of Vision Mamba (Zhu et al. 2024, arXiv:2401.09417, algorithm 1), as used by DPMamba and Mamba-TasNet
    (Jiang et al. 2024, arXiv:2403.18257 and arXiv:2407.09732).

    Arguments
    ---------
    d_model : int
        Channels D.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.

    Example
    -------
    >>> SharedBiMamba(8)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * d_model, math.ceil(d_model / 16)
        self.norm = RMSNorm(d_model)
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.forward_core = SelectiveCore(inner, rank, d_state, d_conv)
        self.backward_core = SelectiveCore(inner, rank, d_state, d_conv, reverse=True)
        self.out_proj = nn.Linear(inner, d_model, bias=False)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B])."""
        u, z = project_in(self.in_proj, self.norm(x), steps)
        y = self.forward_core(u, z, steps) + self.backward_core(u, z, steps)
        return x + self.out_proj(y)
