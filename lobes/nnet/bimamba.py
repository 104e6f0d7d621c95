"""Mamba in both directions. B batch, L steps, D channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lobes.errors import UserError, did_you_mean
from lobes.nnet.lengths import zero_padding
from lobes.nnet.mamba import Mamba, project_in
from lobes.nnet.memory import Memory
from lobes.nnet.mixers import Averaged, chosen_direction, chosen_mixer, chosen_width, make_mixers
from lobes.nnet.norms import RMSNorm
from lobes.nnet.selective import SelectiveCore

STARTS = ("constructed", "published")  # of the weights of a `BiMambaStack`


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
        self.outputs = d_model

    def forward(self, x: Tensor, steps: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B]); with a `memory`, a chunk of a stream."""
        return x + self.mixer(self.norm(x), steps, memory)


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
        self.outputs = 2 * d_model

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run both directions over `x` [B, L, D]: forward, then backward channels [B, L, 2 D].

        `steps` are valid steps per item, Long [B], or None for all. After an item's end the result is zero.
        """
        x = zero_padding(x, steps)
        return torch.cat((self.forward_block(x, steps), self.backward_block(x, steps)), -1)  # [B, L, 2 D]


class SharedBiMamba(nn.Module):
    """x + the sum of both directions of a Mamba that share one input and one output projection, behind an RMS norm.

    The block of Vision Mamba (Zhu et al. 2024, arXiv:2401.09417, algorithm 1). It is what `dpmamba_*` and
    `mamba_tasnet_*` were made of before they became the published networks, which take the mean: folders of such models
    name this class.

    Arguments
    ---------
    d_model : int
        Channels D.
    d_state, d_conv, expand, d_inner
        As in `lobes.nnet.mamba.Mamba`.

    Example
    -------
    >>> SharedBiMamba(8)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    share = 1.0  # of each direction in the result

    def __init__(
        self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2, d_inner: int | None = None
    ) -> None:
        super().__init__()
        inner, rank = expand * d_model if d_inner is None else d_inner, math.ceil(d_model / 16)
        self.norm = RMSNorm(d_model)
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.forward_core = SelectiveCore(inner, rank, d_state, d_conv)
        self.backward_core = SelectiveCore(inner, rank, d_state, d_conv, reverse=True)
        self.out_proj = nn.Linear(inner, d_model, bias=False)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B])."""
        u, z = project_in(self.in_proj, self.norm(x), steps)
        y = self.forward_core(u, z, steps) + self.backward_core(u, z, steps)
        return torch.add(x, self.out_proj(y), alpha=self.share)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        nn.init.ones_(self.norm.weight)
        for part in (self.in_proj, self.forward_core, self.backward_core, self.out_proj):
            part.reset_parameters()


class AveragedBiMamba(SharedBiMamba):
    """x + the mean of both directions: the block of Mamba-TasNet and DPMamba. Arguments are those of `SharedBiMamba`.

    Source: Jiang et al. 2024, arXiv:2407.09732 and arXiv:2403.18257, and their published code.

    Example
    -------
    >>> AveragedBiMamba(8)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    share = 0.5


class BiMambaStack(nn.Module):
    """Blocks of `AveragedBiMamba`, and an RMS norm after the last: the stack of Mamba-TasNet, a path of DPMamba.

    Arguments
    ---------
    d_model : int
        Channels D.
    n_blocks : int
        Blocks M.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.
    start : str
        Initial weights. `constructed`: Mamba's own, with step sizes of 0.001 to 0.1 in both directions, and output
        projections divided by sqrt(M), so that a deep stack starts with residual branches of moderate size. The
        published code constructs the same, but for step sizes of about 0.69 backward. `published`: the weights from
        which the published results were trained. Their script resets all layers by PyTorch's defaults: step sizes of
        0.58 to 0.83 in both directions (d_model 256), nothing divided. `A_log` and `D` are Mamba's in both.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`. Other mixers than Mamba in both directions share no projections between directions.

    Raises
    ------
    UserError
        For another `start`, mixer or direction, or no block.

    Source: Jiang et al. 2024, arXiv:2407.09732 and arXiv:2403.18257, and their published code.

    Example
    -------
    >>> BiMambaStack(8, n_blocks=2)(torch.rand(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        n_blocks: int = 1,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        start: str = STARTS[0],
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> None:
        super().__init__()
        if start not in STARTS:
            raise UserError(f"start: expected {' or '.join(STARTS)}, got {start!r}.{did_you_mean(str(start), STARTS)}")
        if n_blocks < 1:
            raise UserError(f"expected a stack of at least one Mamba block, got {n_blocks}")
        name, side = chosen_mixer(mixer, "mamba"), chosen_direction(direction)
        own, width = (name, side) == ("mamba", "both"), chosen_width(mixer_width, expand * d_model)
        if start != STARTS[0] and not own:
            raise UserError(f"start: {start} is a start of Mamba in both directions; take start: constructed")

        def block() -> nn.Module:
            if own:
                return AveragedBiMamba(d_model, d_state, d_conv, d_inner=width)
            sizes = {"heads": mixer_heads, "d_state": d_state, "d_conv": d_conv}
            return Averaged(make_mixers(name, d_model, side, width, **sizes), d_model)

        self.start = start
        self.layers = nn.ModuleList(block() for _ in range(n_blocks))
        self.norm_f = RMSNorm(d_model)
        self._start()

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B])."""
        for layer in self.layers:
            x = layer(x, steps)
        return self.norm_f(x)

    def reset_parameters(self) -> None:
        """Initialise all weights again, as `start` says."""
        for layer in self.layers:
            layer.reset_parameters()  # type: ignore[operator]
        nn.init.ones_(self.norm_f.weight)
        self._start()

    def _parts(self) -> Iterator[Any]:
        """The parts of the blocks that end in an output projection."""
        for layer in self.layers:
            yield from layer.mixers if isinstance(layer, Averaged) else [layer]

    @torch.no_grad()
    def _start(self) -> None:
        for part in self._parts():
            if self.start == "constructed":
                part.out_proj.weight /= math.sqrt(len(self.layers))
            else:
                for core in (part.forward_core, part.backward_core):
                    core.dt_proj.reset_parameters()
