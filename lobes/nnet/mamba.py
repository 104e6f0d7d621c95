"""Mamba-1, the selective state-space block. B batch, L steps, D inner channels, N state, d_model outer channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.lengths import zero_padding
from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32, in_autocast
from lobes.nnet.selective import SelectiveParts


class Mamba(SelectiveParts):
    """Mamba-1 block (Gu and Dao 2023, arXiv:2312.00752, figure 3).

    Parameters have the names, shapes and initial values of the `mamba_ssm` package, so that state dicts interchange
    both ways. `A_log` and `D` carry `_no_weight_decay`, `dt_proj.bias` carries `_no_reinit`.

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
    d_inner : int, optional
        Inner channels D that are no multiple of d_model; `expand` has no effect then.

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
        d_inner: int | None = None,
    ) -> None:
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else int(dt_rank)
        step_sizes = (dt_min, dt_max, dt_init_floor)
        inner = expand * d_model if d_inner is None else d_inner
        super().__init__(inner, rank, d_state, d_conv, step_sizes, reverse, backend)
        self.d_model = d_model
        # in the order of `mamba_ssm`, so that a seed gives its initial weights
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)
        self.make_parts()
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)
        self.start_step_sizes()

    def forward(self, x: Tensor, steps: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over whole sequences `x` [B, L, d_model]; the result has the same shape, and zeros after an item's end.

        `steps` are valid steps per item, Long [B]; None: all. With `reverse`, each item starts at its own end. With a
        `memory`, `x` is the next chunk of a stream.
        """
        x, z = project_in(self.in_proj, x, steps)  # [B, L, D]
        return self.out_proj(self.mix(x, z, steps, memory))  # [B, L, d_model]

    def initial_states(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return zero states for `step`.

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
        """Run one step of streaming; the results equal those of `forward` over the whole sequence.

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
        dt, B, C = self.select(u)
        dt = F.softplus(at_least_fp32(F.linear(dt, self.dt_proj.weight)) + self.dt_proj.bias)[..., None]  # [B, D, 1]
        ssm_state = torch.exp(dt * self.A()) * ssm_state + dt * u[..., None] * B[:, None]  # [B, D, N]
        y = (ssm_state * C[:, None]).sum(-1) + self.D * u
        return self.out_proj((y * F.silu(z)).to(z.dtype))[:, None], conv_state, ssm_state


def project_in(in_proj: nn.Linear, x: Tensor, steps: Tensor | None) -> tuple[Tensor, Tensor]:
    """Project `x` [B, L, d_model] to the input and the gate [B, L, D] of a block, zeros after an item's end.

    Example
    -------
    >>> x, z = project_in(nn.Linear(8, 32, bias=False), torch.rand(2, 5, 8), None)
    >>> x.shape, z.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 5, 16]))
    """
    # in_proj has no bias: zeros stay zeros, so the convolution sees silence past the true end
    x = in_autocast(zero_padding(x, steps))
    # two products: the backward pass of a single one would have to copy both gradients into one tensor
    x, z = (F.linear(x, half) for half in in_proj.weight.chunk(2))
    return x, z
