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


class Mamba(nn.Module):
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
        super().__init__()
        self.d_model, self.d_state, self.d_conv = d_model, d_state, d_conv
        self.d_inner = expand * d_model
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else int(dt_rank)
        self.reverse, self.backend = reverse, backend

        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, d_conv, groups=self.d_inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, d_state + 1)).repeat(self.d_inner, 1))  # [D, N]
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)
        self._init_step_size(dt_min, dt_max, dt_init_floor)
        self.A_log._no_weight_decay = True  # type: ignore[attr-defined]
        self.D._no_weight_decay = True  # type: ignore[attr-defined]
        self.dt_proj.bias._no_reinit = True  # type: ignore[attr-defined]

    @torch.no_grad()
    def _init_step_size(self, low: float, high: float, floor: float) -> None:
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        log_dt = torch.rand(self.d_inner) * (math.log(high) - math.log(low)) + math.log(low)
        dt = log_dt.exp().clamp(min=floor)
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus(bias) = dt

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
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
        # in_proj has no bias: zeros stay zeros, so the convolution sees silence past the true end
        x = zero_padding(x, lengths)
        # two products: the backward pass of one would have to copy both gradients side by side
        x, z = (F.linear(x, half) for half in self.in_proj.weight.chunk(2))  # [B, L, D] each
        u = conv_silu(x, self.conv1d.weight, self.conv1d.bias, self.reverse)  # type: ignore[arg-type]
        dt, B, C = self._select(u)
        y = selective_scan(
            u,
            F.linear(dt, self.dt_proj.weight),  # [B, L, D]
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
        return self.out_proj(y)  # [B, L, d_model]

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

    def _A(self) -> Tensor:
        return -torch.exp(at_least_fp32(self.A_log))  # [D, N]

    def _select(self, u: Tensor) -> tuple[Tensor, ...]:
        return self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], -1)
