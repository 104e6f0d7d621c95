"""A gated depthwise convolution as a mixer. B batch, L steps, D channels, K taps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.depthwise import conv_silu
from lobes.nnet.memory import Memory, behind_past
from lobes.nnet.mixers.mixer import Mixer

TAPS = 31  # as in the Conformer (Gulati et al. 2020, arXiv:2005.08100)


class GatedConvolution(Mixer):
    """A depthwise convolution with SiLU times a gate with SiLU, between linear maps: Mamba's block without its scan.

    Source: the gated CNN of Dauphin et al. 2017, arXiv:1612.08083, in the form of Yu and Wang 2024, arXiv:2405.07992.

    Arguments
    ---------
    d_model : int
        Channels D.
    width : int
        Inner channels.
    taps : int
        Kernel size K, odd.
    past_only : bool
        A step sees the K - 1 steps before; False: (K - 1) / 2 on either side.

    Example
    -------
    >>> import torch
    >>> GatedConvolution(8, width=16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, width: int, taps: int = TAPS, past_only: bool = False) -> None:
        super().__init__()
        self.taps, self.later = taps, 0 if past_only else taps // 2
        self.in_proj = nn.Linear(d_model, 2 * width, bias=False)
        self.conv1d = nn.Conv1d(width, width, taps, groups=width, padding=taps - 1)
        self.out_proj = nn.Linear(width, d_model, bias=False)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        for part in (self.in_proj, self.conv1d, self.out_proj):
            part.reset_parameters()

    def mix(self, x: Tensor, steps: Tensor | None, memory: Memory | None) -> Tensor:
        """Run over `x` [B, L, D]; see `Mixer`."""
        u, gate = self.in_proj(x).chunk(2, -1)  # no bias: the convolution sees zeros after an item's end
        first = self.later
        if memory is not None:
            if self.later:
                raise ValueError("GatedConvolution: expected past_only with a memory, a stream has no later steps")
            first = self.taps - 1
            u = behind_past(u, first, 1, memory, self.conv1d)
        u = conv_silu(F.pad(u, (0, 0, 0, self.later)), self.conv1d.weight, self.conv1d.bias)  # type: ignore[arg-type]
        return self.out_proj(u[:, first:] * F.silu(gate))
