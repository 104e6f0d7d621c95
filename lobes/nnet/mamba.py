"""Mamba-1, the selective state-space block. B batch, L steps, D inner channels, N state, d_model outer channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.depthwise import conv_silu
from lobes.nnet.lengths import zero_padding
from lobes.nnet.precision import at_least_fp32
from lobes.scan import selective_scan


class SelectiveCore(nn.Module):
    """What lies between the projections of a Mamba block: convolution, selection, scan, gate, in one direction.

    Arguments
    ---------
    d_inner, dt_rank, d_state, d_conv : int
        Inner channels D, rank of the step size's projection, states N, kernel size of the convolution.
    dt_min, dt_max, dt_init_floor : float
        Initial step sizes are drawn log-uniformly from [dt_min, dt_max] and are never below the floor.
    reverse : bool
        Run from the end to the start.
    backend : str
        Backend of `lobes.scan.selective_scan`.

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
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        reverse: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self._set_sizes(d_inner, dt_rank, d_state, d_conv, reverse, backend)
        self._make_core()
        self._step_sizes = (dt_min, dt_max, dt_init_floor)
        self._init_step_size(*self._step_sizes)

    def _set_sizes(self, d_inner: int, dt_rank: int, d_state: int, d_conv: int, reverse: bool, backend: str) -> None:
        self.d_inner, self.dt_rank, self.d_state, self.d_conv = d_inner, dt_rank, d_state, d_conv
        self.reverse, self.backend = reverse, backend

    def _make_core(self) -> None:
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, self.d_conv, groups=self.d_inner, padding=self.d_conv - 1)
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * self.d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, self.d_state + 1)).repeat(self.d_inner, 1))  # [D, N]
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.A_log._no_weight_decay = True  # type: ignore[attr-defined]
        self.D._no_weight_decay = True  # type: ignore[attr-defined]
        self.dt_proj.bias._no_reinit = True  # type: ignore[attr-defined]

    @torch.no_grad()
    def _init_step_size(self, low: float, high: float, floor: float) -> None:
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        log_dt = torch.rand(self.d_inner) * (math.log(high) - math.log(low)) + math.log(low)
        dt = log_dt.exp().clamp(min=floor)
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus(bias) = dt

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew, the step sizes by their own rule; `A` and `D` are what they always start as."""
        for child in self.children():
            child.reset_parameters()  # type: ignore[operator]
        self.A_log.copy_(torch.log(torch.arange(1.0, self.d_state + 1)).expand_as(self.A_log))
        self.D.fill_(1.0)
        self._init_step_size(*self._step_sizes)

    def forward(self, x: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mix `x` [B, L, D] along the steps and gate it with `z` [B, L, D].

        `lengths` are valid steps per item, Long [B]; after them `x` must be zero, and so is the result.
        """
        u = conv_silu(x, self.conv1d.weight, self.conv1d.bias, self.reverse)  # type: ignore[arg-type]
        dt, B, C = self._select(u)
        # a contiguous transpose of the few columns lets both gradients be multiplied in a third of the time on CPUs
        return selective_scan(
            u,
            dt @ self.dt_proj.weight.t().contiguous(),  # [B, L, D]
            self._A(),
            B,
            C,
            self.D,
            z=z,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
            reverse=self.reverse,
            lengths=lengths,
            backend=self.backend,
        )

    def _A(self) -> Tensor:
        return -torch.exp(at_least_fp32(self.A_log))  # [D, N]

    def _select(self, u: Tensor) -> tuple[Tensor, ...]:
        return self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], -1)


class Mamba(SelectiveCore):
    """Mamba-1 block (Gu and Dao 2023, arXiv:2312.00752, figure 3).

    Parameters have the `mamba_ssm` package's names, shapes and initial values, so that state dicts interchange both
    ways. `A_log` and `D` carry `_no_weight_decay`, `dt_proj.bias` carries `_no_reinit`.

    Arguments
    ---------
    d_model : int
        Input and output channels.
    d_state : int
        States N per inner channel.
    d_conv : int
        Kernel size of the depthwise convolution.
    expand : int
        Inner channels D = expand * d_model.
    dt_rank : int or "auto"
        Rank of the step size's projection; "auto" is ceil(d_model / 16).
    dt_min, dt_max, dt_init_floor : float
        Initial step sizes are drawn log-uniformly from [dt_min, dt_max] and are never below the floor.
    reverse : bool
        Run from the end to the start: equal to flipping input and output in time, without the copies.
    backend : str
        Backend of `lobes.scan.selective_scan`.

    Example
    -------
    >>> Mamba(d_model=8)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | str = "auto",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        reverse: bool = False,
        backend: str = "auto",
    ) -> None:
        nn.Module.__init__(self)  # the parts are made in the package's order, which a seed depends on
        self.d_model = d_model
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else int(dt_rank)
        self._set_sizes(expand * d_model, rank, d_state, d_conv, reverse, backend)
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)
        self._make_core()
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)
        self._step_sizes = (dt_min, dt_max, dt_init_floor)
        self._init_step_size(*self._step_sizes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Run over whole sequences.

        Arguments
        ---------
        x : Tensor
            Input [B, L, d_model].
        lengths : Tensor or None
            Valid steps per item, Long [B]; None: all. With `reverse`, each item starts at its own end.

        Returns
        -------
        Tensor
            Output [B, L, d_model], zeros after an item's end.
        """
        return self.out_proj(super().forward(*project_in(self.in_proj, x, lengths), lengths))  # [B, L, d_model]

    def initial_states(self, batch: int) -> tuple[Tensor, Tensor]:
        """Zero states for `step`.

        Returns
        -------
        conv_state : Tensor
            The last d_conv inputs of the convolution, [B, D, d_conv].
        ssm_state : Tensor
            State of the scan, [B, D, N], at least fp32.
        """
        weight = self.A_log
        conv_state = weight.new_zeros(batch, self.d_inner, self.d_conv, dtype=self.conv1d.weight.dtype)
        return conv_state, weight.new_zeros(batch, self.d_inner, self.d_state, dtype=at_least_fp32(weight).dtype)

    def step(self, x: Tensor, conv_state: Tensor, ssm_state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run one step of streaming; `forward` over the whole sequence gives the same.

        Arguments
        ---------
        x : Tensor
            One step [B, 1, d_model].
        conv_state, ssm_state : Tensor
            States from `initial_states` or the step before; they are not changed in place.

        Returns
        -------
        y : Tensor
            [B, 1, d_model].
        conv_state, ssm_state : Tensor
            The states after this step.

        Raises
        ------
        ValueError
            If the block runs in reverse: it would need the future.

        Example
        -------
        >>> mamba = Mamba(8)
        >>> y, *states = mamba.step(torch.rand(2, 1, 8), *mamba.initial_states(2))
        >>> y.shape
        torch.Size([2, 1, 8])
        """
        if self.reverse:
            raise ValueError("Mamba.step: expected reverse=False, as one step at a time cannot start from the end")
        x, z = self.in_proj(x[:, 0]).chunk(2, -1)  # [B, D] each
        conv_state = torch.cat([conv_state[..., 1:], x[..., None]], -1)  # [B, D, d_conv]
        u = F.silu((conv_state * self.conv1d.weight[:, 0]).sum(-1) + self.conv1d.bias)  # type: ignore[operator]
        dt, B, C = self._select(u)
        dt = F.softplus(at_least_fp32(F.linear(dt, self.dt_proj.weight)) + self.dt_proj.bias)[..., None]  # [B, D, 1]
        ssm_state = torch.exp(dt * self._A()) * ssm_state + dt * u[..., None] * B[:, None]  # [B, D, N]
        y = (ssm_state * C[:, None]).sum(-1) + self.D * u
        return self.out_proj((y * F.silu(z)).to(z.dtype))[:, None], conv_state, ssm_state


def project_in(in_proj: nn.Linear, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Input and gate [B, L, D] of a block's core from `x` [B, L, d_model], zeros after an item's end.

    Example
    -------
    >>> x, z = project_in(nn.Linear(8, 32, bias=False), torch.rand(2, 5, 8), None)
    >>> x.shape, z.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 5, 16]))
    """
    # in_proj has no bias: zeros stay zeros, so the convolution sees silence past the true end
    x = zero_padding(x, lengths)
    # two products: the backward pass of one would have to copy both gradients side by side
    x, z = (F.linear(x, half) for half in in_proj.weight.chunk(2))
    return x, z
