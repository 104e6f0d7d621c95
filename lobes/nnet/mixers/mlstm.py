"""The mLSTM block of xLSTM. B batch, L steps, H heads, P channels of a head, d_model outer channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.memory import Memory
from lobes.nnet.mixers.mixer import Mixer
from lobes.nnet.mixers.mlstm_cell import mlstm
from lobes.nnet.mixers.sizes import check_heads
from lobes.nnet.precision import at_least_fp32, no_autocast
from lobes.nnet.stream_conv import conv_silu_in_stream

BLOCK = 4  # channels of a block in the projections to queries, keys and values, at most
EPS = 1e-5


class MLSTM(Mixer):
    """mLSTM block with projections around the cell (Beck et al. 2024, arXiv:2405.04517, figure 11 and section 2.3).

    A projection gives input and gate; queries and keys come from a causal convolution of the input, values from the
    input, by block-diagonal matrices; the cell has a matrix memory with an exponential input gate; its result is
    normalised in each head, gets a learned share of the convolution, and is gated. Initially the gates do not depend on
    the signal, and forget biases go from 3 to 6.

    Arguments
    ---------
    d_model : int
        Input and output channels.
    width : int
        Inner channels H * P; in the paper 2 * d_model.
    heads : int
        Heads H.
    d_conv : int
        Kernel size of the convolution.
    reverse : bool
        As in `Mixer`.

    Raises
    ------
    UserError
        If the heads do not divide the width.

    Example
    -------
    >>> MLSTM(8, width=16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, width: int, heads: int = 4, d_conv: int = 4, reverse: bool = False) -> None:
        super().__init__(reverse)
        check_heads("xlstm", width, heads)
        self.heads = heads
        self.in_proj = nn.Linear(d_model, 2 * width, bias=False)
        self.conv1d = nn.Conv1d(width, width, d_conv, groups=width, padding=d_conv - 1)
        self.query, self.key, self.value = (BlockLinear(width, math.gcd(width, BLOCK)) for _ in range(3))
        self.gates = nn.Linear(3 * width, 2 * heads)  # input gates, then forget gates
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.skip = nn.Parameter(torch.ones(width))
        self.out_proj = nn.Linear(width, d_model, bias=False)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        nn.init.normal_(self.in_proj.weight, std=math.sqrt(2 / (5 * self.in_proj.in_features)))
        nn.init.zeros_(self.gates.weight)
        nn.init.normal_(self.gates.bias[: self.heads], std=0.1)
        self.gates.bias[self.heads :] = torch.linspace(3.0, 6.0, self.heads)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        for part in (self.conv1d, self.query, self.key, self.value, self.out_proj):
            part.reset_parameters()
        nn.init.ones_(self.norm_weight)
        nn.init.ones_(self.skip)
        self._start()

    def mix(self, x: Tensor, steps: Tensor | None, memory: Memory | None) -> Tensor:
        """Run over `x` [B, L, d_model]; see `Mixer`."""
        u, gate = self.in_proj(x).chunk(2, -1)  # [B, L, H P]
        c = conv_silu_in_stream(self.conv1d, u, memory)
        parts = self.query(c), self.key(c), self.value(u)
        gates = self.gates(torch.cat(parts, -1))  # [B, L, 2 H]
        with no_autocast(x):
            h = self._cell([at_least_fp32(part) for part in parts], at_least_fp32(gates), memory)
            y = (h + self.skip * at_least_fp32(c)) * F.silu(at_least_fp32(gate))
        return self.out_proj(y)

    def _cell(self, parts: list[Tensor], gates: Tensor, memory: Memory | None) -> Tensor:
        """Queries, keys and values [B, L, H P] and gates [B, L, 2 H] to [B, L, H P], normalised in each head."""
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # [B, H, L, P]
        log_input, forget = gates.transpose(1, 2).chunk(2, 1)  # [B, H, L]
        state = None if memory is None else memory.get(self)
        h, state = mlstm(query, key / math.sqrt(key.shape[-1]), value, log_input, F.logsigmoid(forget), state)
        if memory is not None:
            memory[self] = state
        return F.layer_norm(h, h.shape[-1:], eps=EPS).transpose(1, 2).flatten(2) * self.norm_weight


class BlockLinear(nn.Module):
    """A linear map without bias whose matrix has square blocks of `size` channels on its diagonal and zeros elsewhere.

    Example
    -------
    >>> BlockLinear(8, 4)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width // size, size, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the blocks as published, with the width of the whole matrix in the variance."""
        nn.init.normal_(self.weight, std=math.sqrt(2 / (5 * self.weight.shape[0] * self.weight.shape[1])))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B, L, width] to the same shape."""
        y = x.unflatten(-1, (self.weight.shape[0], -1)).flatten(0, 1).transpose(0, 1)  # [blocks, B L, size]
        return (y @ self.weight).transpose(0, 1).flatten(1).view(x.shape)
