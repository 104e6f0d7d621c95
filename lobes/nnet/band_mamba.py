"""Mamba, or another mixer, over time within each band and across the bands of each frame.

B batch, L frames, K bands, D channels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lobes.nnet.lengths import zero_padding
from lobes.nnet.memory import Memory
from lobes.nnet.mixers import chosen_width, make_mixers
from lobes.nnet.slices import in_slices

SLICE = 2**20  # numbers in a slice of inference: bands are few, and the scan wants several of them at once


class MambaPair(nn.Module):
    """x + Linear([forward; backward]) of Mamba in both directions behind one norm.

    In the published BS-BiMamba each direction also has a norm and a residual of its own: the input then enters three
    times, and is normalised twice.

    Arguments
    ---------
    d_model : int
        Channels D.
    bidirectional : bool
        False leaves the backward direction out.
    as_published : bool
        The published structure, with step sizes of rank expand * D / 16.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.
    mixer, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`: what stands in the place of Mamba, with expand * D inner channels by default.

    Example
    -------
    >>> MambaPair(16)(torch.rand(2, 5, 16), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        d_model: int,
        bidirectional: bool = True,
        as_published: bool = False,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 1,
        mixer: str = "mamba",
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> None:
        super().__init__()
        width = chosen_width(mixer_width, expand * d_model)
        rank: int | str = math.ceil(width / 16) if as_published else "auto"
        sizes: dict[str, Any] = {"heads": mixer_heads, "d_state": d_state, "d_conv": d_conv, "dt_rank": rank}
        mixers = make_mixers(mixer, d_model, "both" if bidirectional else "forward", width, **sizes)
        self.norm = nn.LayerNorm(d_model)
        self.inner_norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in mixers) if as_published else None
        self.mixers = nn.ModuleList(mixers)
        self.combine = nn.Linear(len(mixers) * d_model, d_model)
        nn.init.xavier_uniform_(self.combine.weight)
        nn.init.zeros_(self.combine.bias)

    def forward(self, x: Tensor, steps: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B]); with a `memory`, a chunk of a stream."""
        y = zero_padding(self.norm(x), steps)
        if self.inner_norms is None:
            both = [mixer(y, steps, memory) for mixer in self.mixers]
        else:
            pairs = zip(self.inner_norms, self.mixers, strict=True)
            both = [y + mixer(norm(y), steps, memory) for norm, mixer in pairs]
        return x + self.combine(torch.cat(both, -1))


class IntraBandBiMamba(MambaPair):
    """`MambaPair` over the frames of each band.

    Example
    -------
    >>> IntraBandBiMamba(16)(torch.rand(2, 5, 3, 16), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 3, 16])
    """

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, K, D] with `frames` valid frames per item (Long [B]); with a `memory`, over a chunk."""
        if memory is not None:  # its state is that of all bands
            return self._along(x, frames, memory)
        return in_slices(lambda part: self._along(part, frames), x, dim=2, size=SLICE)

    def _along(self, x: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        bands = x.shape[2]
        steps = None if frames is None else frames.repeat_interleave(bands)
        y = super().forward(x.transpose(1, 2).flatten(0, 1), steps, memory)  # [B K, L, D]
        return y.unflatten(0, (-1, bands)).transpose(1, 2)


class CrossBandBiMamba(MambaPair):
    """`MambaPair` over the bands of each frame; no frame sees another.

    Example
    -------
    >>> CrossBandBiMamba(16)(torch.rand(2, 5, 3, 16)).shape
    torch.Size([2, 5, 3, 16])
    """

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, K, D]; `frames` and `memory` have no effect, since frames do not mix."""
        return in_slices(self._across, x, dim=1, size=SLICE)

    def _across(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # [B L, K, D] inside
