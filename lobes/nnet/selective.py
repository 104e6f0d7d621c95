"""The selective part of a Mamba-1 block, in one direction. B batch, L steps, D inner channels, N state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32
from lobes.nnet.step_sizes import bias_of_step_sizes
from lobes.nnet.stream_conv import conv_silu_in_stream
from lobes.scan import selective_scan


class SelectiveParts(nn.Module):
    """Convolution, selection, scan and gate of a Mamba block; subclasses add the surrounding projections and `forward`.

    Parameters have the names, shapes and initial values of the `mamba_ssm` package. `A_log` and `D` carry
    `_no_weight_decay`, `dt_proj.bias` carries `_no_reinit`. Subclasses call `make_parts` and `start_step_sizes`
    themselves, because the initial weights of a seed depend on the order in which they are drawn.

    Arguments
    ---------
    d_inner, dt_rank, d_state, d_conv : int
        Inner channels D, rank of the step size's projection, states N, kernel size of the convolution.
    step_sizes : tuple of float
        Minimum, maximum and floor: initial step sizes are drawn log-uniformly between the first two and are never below
        the third.
    reverse : bool
        Run from the end to the start.
    backend : str
        Backend of `lobes.scan.selective_scan`.
    """

    def __init__(
        self,
        d_inner: int,
        dt_rank: int,
        d_state: int,
        d_conv: int,
        step_sizes: tuple[float, float, float],
        reverse: bool,
        backend: str,
    ) -> None:
        super().__init__()
        self.d_inner, self.dt_rank, self.d_state, self.d_conv = d_inner, dt_rank, d_state, d_conv
        self.step_sizes, self.reverse, self.backend = step_sizes, reverse, backend

    def make_parts(self) -> None:
        """Make the convolution, the projections, `A_log` and `D`."""
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, self.d_conv, groups=self.d_inner, padding=self.d_conv - 1)
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * self.d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, self.d_state + 1)).repeat(self.d_inner, 1))  # [D, N]
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.A_log._no_weight_decay = True  # type: ignore[attr-defined]
        self.D._no_weight_decay = True  # type: ignore[attr-defined]
        self.dt_proj.bias._no_reinit = True  # type: ignore[attr-defined]

    @torch.no_grad()
    def start_step_sizes(self) -> None:
        """Draw the projection of the step sizes, with a bias that gives the initial step sizes."""
        low, high, floor = self.step_sizes
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        self.dt_proj.bias.copy_(bias_of_step_sizes(self.d_inner, low, high, floor))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise all weights again, including the step sizes, `A_log` and `D`."""
        for child in self.children():
            child.reset_parameters()  # type: ignore[operator]
        self.A_log.copy_(torch.log(torch.arange(1.0, self.d_state + 1)).expand_as(self.A_log))
        self.D.fill_(1.0)
        self.start_step_sizes()

    def mix(self, x: Tensor, z: Tensor, steps: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Mix `x` [B, L, D] along the steps and gate it with `z` [B, L, D].

        `steps` are valid steps per item, Long [B]. After an item's end `x` must be zero, and so is the result. With a
        `memory`, the convolution and the scan go on where the chunk before ended; all steps are valid then.
        """
        if memory is not None and self.reverse:
            raise ValueError("Mamba: expected reverse=False with a memory, as a stream cannot start from its end")
        u = conv_silu_in_stream(self.conv1d, x, memory, self.reverse)
        dt, B, C = self.select(u)
        result = selective_scan(
            u,
            dt,
            self.A(),
            B,
            C,
            self.D,
            z=z,
            delta_bias=self.dt_proj.bias,
            delta_weight=self.dt_proj.weight,
            delta_softplus=True,
            reverse=self.reverse,
            lengths=steps,
            initial_state=None if memory is None else memory.get(self),
            return_last_state=memory is not None,
            backend=self.backend,
        )
        if memory is None:
            return result
        y, memory[self] = result
        return y

    def A(self) -> Tensor:
        """State matrix of the scan [D, N], negative."""
        return -torch.exp(at_least_fp32(self.A_log))

    def select(self, u: Tensor) -> tuple[Tensor, ...]:
        """Project `u` [..., D] to low-rank step sizes [..., rank], B [..., N] and C [..., N]."""
        return self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], -1)


class SelectiveCore(SelectiveParts):
    """The selective part alone, for blocks that have projections of their own.

    The arguments are those of `SelectiveParts`, with Mamba's usual values.

    Example
    -------
    >>> SelectiveCore(16, dt_rank=1)(torch.rand(2, 5, 16), torch.rand(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        d_inner: int,
        dt_rank: int,
        d_state: int = 16,
        d_conv: int = 4,
        step_sizes: tuple[float, float, float] = (1e-3, 0.1, 1e-4),
        reverse: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(d_inner, dt_rank, d_state, d_conv, step_sizes, reverse, backend)
        self.make_parts()
        self.start_step_sizes()

    def forward(self, x: Tensor, z: Tensor, steps: Tensor | None = None) -> Tensor:
        """Mix `x` [B, L, D] along the steps and gate it with `z` [B, L, D]; see `mix`."""
        return self.mix(x, z, steps)
