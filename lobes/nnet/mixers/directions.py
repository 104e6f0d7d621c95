"""How the directions of a mixer are combined. B batch, L steps, D channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lobes.nnet.lengths import zero_padding
from lobes.nnet.memory import Memory
from lobes.nnet.norms import RMSNorm


class Directions(nn.Module):
    """Mixers over one sequence, whose outputs are concatenated: [B, L, D] to [B, L, `outputs`].

    Arguments
    ---------
    mixers : sequence of nn.Module
        As `make_mixers` gives them.
    channels : int
        Channels D.
    residual : bool
        x + mixer(RMSNorm(x)) for each, as in SPMamba; False: the mixers alone.

    Example
    -------
    >>> from lobes.nnet.mixers import make_mixers
    >>> both = Directions(make_mixers("mamba2", 8, "both", width=16), 8)
    >>> both(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape, both.outputs
    (torch.Size([2, 5, 16]), 16)
    """

    def __init__(self, mixers: Sequence[nn.Module], channels: int, residual: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RMSNorm(channels) for _ in mixers) if residual else None
        self.mixers = nn.ModuleList(mixers)
        self.outputs = len(self.mixers) * channels

    def forward(self, x: Tensor, steps: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B]); with a `memory`, a chunk of a stream."""
        x = zero_padding(x, steps)
        if self.norms is None:
            return torch.cat([mixer(x, steps, memory) for mixer in self.mixers], -1)
        pairs = zip(self.norms, self.mixers, strict=True)
        return torch.cat([x + mixer(norm(x), steps, memory) for norm, mixer in pairs], -1)


class Averaged(nn.Module):
    """The mean of mixers over one sequence, [B, L, D] to the same shape: x + that of a norm of x, or the mean alone.

    Arguments
    ---------
    mixers, channels, residual
        As in `Directions`; here the directions share one norm and one residual.

    Example
    -------
    >>> from lobes.nnet.mixers import make_mixers
    >>> Averaged(make_mixers("lstm", 8, "both", width=16), 8)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, mixers: Sequence[nn.Module], channels: int, residual: bool = True) -> None:
        super().__init__()
        self.norm = RMSNorm(channels) if residual else None
        self.mixers = nn.ModuleList(mixers)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B])."""
        y = x if self.norm is None else self.norm(x)
        y = torch.stack([mixer(y, steps) for mixer in self.mixers]).mean(0)
        return y if self.norm is None else x + y

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        for mixer in self.mixers:
            mixer.reset_parameters()  # type: ignore[operator]
        if self.norm is not None:
            nn.init.ones_(self.norm.weight)
