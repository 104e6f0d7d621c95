"""Mamba-2. B batch, L steps, H heads, P channels of a head, N states, d_model outer channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.memory import Memory
from lobes.nnet.mixers.mixer import Mixer
from lobes.nnet.mixers.sizes import check_heads
from lobes.nnet.mixers.ssd import ssd
from lobes.nnet.norms import RMSNorm
from lobes.nnet.precision import at_least_fp32, no_autocast
from lobes.nnet.step_sizes import bias_of_step_sizes
from lobes.nnet.stream_conv import conv_silu_in_stream

STEP_SIZES = (1e-3, 1e-1, 1e-4)  # least and most at the start, and the floor


class Mamba2(Mixer):
    """Mamba-2 block (Dao and Gu 2024, arXiv:2405.21060, figure 6), with one group of B and C.

    One projection gives the gate, the input, B, C and the step sizes; a causal convolution mixes the middle three; the
    state decays by one number per head; the gated result is normalised. Initial values as published: A is drawn from 1
    to 16, step sizes log-uniformly from 0.001 to 0.1. `A_log`, `D` and `dt_bias` carry `_no_weight_decay`.

    Arguments
    ---------
    d_model : int
        Input and output channels.
    width : int
        Inner channels H * P.
    heads : int
        Heads H. The published networks have heads of 64 channels.
    d_state : int
        States N of each inner channel.
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
    >>> Mamba2(8, width=16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self, d_model: int, width: int, heads: int = 4, d_state: int = 16, d_conv: int = 4, reverse: bool = False
    ) -> None:
        super().__init__(reverse)
        check_heads("mamba2", width, heads)
        self.sizes, self.heads = (width, width + 2 * d_state, heads), heads
        self.split = [width, d_state, d_state]
        mixed = sum(self.split)
        self.in_proj = nn.Linear(d_model, sum(self.sizes), bias=False)
        self.conv1d = nn.Conv1d(mixed, mixed, d_conv, groups=mixed, padding=d_conv - 1)
        self.dt_bias, self.A_log, self.D = (nn.Parameter(torch.ones(heads)) for _ in range(3))
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]
        self.norm = RMSNorm(width)
        self.out_proj = nn.Linear(width, d_model, bias=False)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        self.dt_bias.copy_(bias_of_step_sizes(self.heads, *STEP_SIZES))
        self.A_log.copy_(torch.empty(self.heads).uniform_(1, 16).log())
        self.D.fill_(1.0)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        for part in (self.in_proj, self.conv1d, self.out_proj):
            part.reset_parameters()
        nn.init.ones_(self.norm.weight)
        self._start()

    def mix(self, x: Tensor, steps: Tensor | None, memory: Memory | None) -> Tensor:
        """Run over `x` [B, L, d_model]; see `Mixer`."""
        gate, u, dt = self.in_proj(x).split(self.sizes, -1)
        u = conv_silu_in_stream(self.conv1d, u, memory)
        with no_autocast(u):
            y = self._scan(at_least_fp32(u), at_least_fp32(dt), memory) * F.silu(at_least_fp32(gate))
            y = self.norm(y)
        return self.out_proj(y)

    def _scan(self, u: Tensor, dt: Tensor, memory: Memory | None) -> Tensor:
        """[B, L, H P + 2 N] and step sizes [B, L, H] to [B, L, H P]."""
        x, B, C = u.split(self.split, -1)
        x = x.unflatten(-1, (self.heads, -1))  # [B, L, H, P]
        delta = F.softplus(dt + self.dt_bias)
        A = -torch.exp(at_least_fp32(self.A_log))
        y, state = ssd(x, delta, A, B, C, None if memory is None else memory.get(self))
        if memory is not None:
            memory[self] = state
        return (y + self.D[:, None] * x).flatten(2)
