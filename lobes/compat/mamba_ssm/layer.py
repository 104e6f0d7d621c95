"""The Mamba layer of mamba_ssm. B batch, L steps, E outer channels (d_model), D inner channels, N state, K taps.

Example
-------
>>> import torch
>>> layer = MambaLayer(d_model=8, layer_idx=0)
>>> x, states = torch.rand(2, 5, 8), layer.allocate_inference_cache(2, max_seqlen=5)
>>> with torch.no_grad():
...     steps = [layer.step(x[:, t : t + 1], *states)[0] for t in range(5)]
...     torch.allclose(torch.cat(steps, 1), layer(x), atol=1e-6)
True
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.compat.mamba_ssm.convolution import causal_conv1d_update
from lobes.compat.mamba_ssm.inner import InnerWeights, mix
from lobes.compat.mamba_ssm.named import named
from lobes.compat.mamba_ssm.state_update import selective_state_update
from lobes.nnet.precision import at_least_fp32
from lobes.nnet.step_sizes import bias_of_step_sizes


@named("mamba_ssm.modules.mamba_simple", "Mamba")
class MambaLayer(nn.Module):
    """Mamba-1 (Gu and Dao 2023, arXiv:2312.00752, figure 3) with mamba_ssm's arguments, attributes and state dict.

    Under one seed the initial weights are mamba_ssm's as well: they are drawn in its order.

    Arguments
    ---------
    d_model, d_state, d_conv : int
        Outer channels E, states N, taps K.
    expand : float
        Inner channels D = int(expand * d_model).
    dt_rank : int or "auto"
        Rank of the step size's projection; "auto" is ceil(d_model / 16).
    dt_min, dt_max, dt_init_floor : float
        Initial step sizes are drawn log-uniformly from [dt_min, dt_max] and are never below the floor.
    dt_init : str
        Weights of the step size's projection: `random`, uniform up to dt_scale / sqrt(dt_rank), or `constant`.
    dt_scale : float
        See `dt_init`.
    conv_bias, bias : bool
        A bias of the convolution, and of the projections in and out.
    use_fast_path : bool
        Without effect: there is one path.
    layer_idx : int, optional
        Key of this layer's states in an inference cache.
    device, dtype
        Of the weights; `A_log` and `D` are float32.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: float = 2,
        dt_rank: int | str = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init: str = "random",
        dt_scale: float = 1.0,
        dt_init_floor: float = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
        use_fast_path: bool = True,
        layer_idx: int | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.d_model, self.d_state, self.d_conv, self.expand = d_model, d_state, d_conv, expand
        self.d_inner = inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else int(dt_rank)
        self.use_fast_path, self.layer_idx = use_fast_path, layer_idx
        self.activation, self.act = "silu", nn.SiLU()
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=bias, **made)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1, bias=conv_bias, **made)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * d_state, bias=False, **made)
        self.dt_proj = nn.Linear(self.dt_rank, inner, **made)
        self._start_step_sizes(dt_init, dt_scale, (dt_min, dt_max, dt_init_floor))
        states = torch.arange(1, d_state + 1, dtype=torch.float32, device=device)
        self.A_log = nn.Parameter(torch.log(states).repeat(inner, 1))  # [D, N]
        self.D = nn.Parameter(torch.ones(inner, device=device))
        self.A_log._no_weight_decay = self.D._no_weight_decay = True  # type: ignore[attr-defined]
        self.out_proj = nn.Linear(inner, d_model, bias=bias, **made)

    @torch.no_grad()
    def _start_step_sizes(self, start: str, scale: float, sizes: tuple[float, float, float]) -> None:
        weight, bias, bound = self.dt_proj.weight, self.dt_proj.bias, self.dt_rank**-0.5 * scale
        if start == "constant":
            nn.init.constant_(weight, bound)
        elif start == "random":
            nn.init.uniform_(weight, -bound, bound)
        else:
            raise NotImplementedError(f"Mamba: dt_init must be random or constant, found {start!r}")
        bias.copy_(bias_of_step_sizes(self.d_inner, *sizes, device=bias.device, dtype=bias.dtype))
        bias._no_reinit = True  # type: ignore[attr-defined]

    def forward(self, hidden_states: Tensor, inference_params: Any = None) -> Tensor:
        """Run over whole sequences [B, L, E]; the result has the same shape.

        With `inference_params` (an `InferenceParams`) the states after the sequence are put into its cache, and once
        its `seqlen_offset` is above 0 the input is the next step [B, 1, E].
        """
        if inference_params is None:
            x, z = self._project(hidden_states)
            return self.out_proj(mix(x, z, self._weights())[0])  # [B, L, E]
        conv_state, ssm_state = self._get_states_from_cache(inference_params, hidden_states.shape[0])
        if inference_params.seqlen_offset > 0:
            return self.step(hidden_states, conv_state, ssm_state)[0]
        x, z = self._project(hidden_states)
        y, last = mix(x, z, self._weights(), return_last_state=True)
        with torch.no_grad():
            conv_state.copy_(F.pad(x.transpose(1, 2), (self.d_conv - x.shape[1], 0)))  # the last K, or zeros before all
            ssm_state.copy_(last)  # type: ignore[arg-type]
        return self.out_proj(y)

    def _project(self, hidden_states: Tensor) -> list[Tensor]:
        """x and z [B, L, D]; by two products, as the backward pass of one would copy both gradients together."""
        weight, bias = self.in_proj.weight, self.in_proj.bias
        biases = (None, None) if bias is None else bias.chunk(2)
        return [F.linear(hidden_states, half, more) for half, more in zip(weight.chunk(2), biases, strict=True)]

    def _weights(self) -> InnerWeights:
        return InnerWeights(
            self.conv1d.weight,
            self.conv1d.bias,
            self.x_proj.weight,
            self.dt_proj.weight,
            A=-torch.exp(at_least_fp32(self.A_log)),
            D=at_least_fp32(self.D),
            delta_bias=at_least_fp32(self.dt_proj.bias),
        )

    def step(self, hidden_states: Tensor, conv_state: Tensor, ssm_state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the next step of a stream; the results equal those of `forward` over the whole sequence.

        Arguments
        ---------
        hidden_states : Tensor
            [B, 1, E].
        conv_state, ssm_state : Tensor
            [B, D, K] and [B, D, N], from `allocate_inference_cache` or the step before; changed in place.

        Returns
        -------
        out : Tensor
            [B, 1, E].
        conv_state, ssm_state : Tensor
            The states that were given.
        """
        if hidden_states.shape[1] != 1:
            raise ValueError(f"Mamba.step: expected one step [B, 1, {self.d_model}], got {list(hidden_states.shape)}")
        x, z = self.in_proj(hidden_states[:, 0]).chunk(2, -1)  # [B, D] each
        x = causal_conv1d_update(x, conv_state, self.conv1d.weight[:, 0], self.conv1d.bias, self.activation)
        dt, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], -1)
        w = self._weights()
        how: dict[str, Any] = {"z": z, "dt_bias": w.delta_bias, "dt_softplus": True}
        y = selective_state_update(ssm_state, x, F.linear(dt, w.delta_proj_weight), w.A, B, C, w.D, **how)
        return self.out_proj(y)[:, None], conv_state, ssm_state

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return zero states [B, D, K] and [B, D, N] for `step`; `max_seqlen` does not matter to them."""
        conv, scan = self.conv1d.weight, self.dt_proj.weight
        conv_state = conv.new_zeros(batch_size, self.d_inner, self.d_conv, dtype=dtype or conv.dtype)
        return conv_state, scan.new_zeros(batch_size, self.d_inner, self.d_state, dtype=dtype or scan.dtype)

    def _get_states_from_cache(
        self, inference_params: Any, batch_size: int, initialize_states: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The states under this layer's index, made at the first call; mamba_ssm's name, which subclasses call."""
        if self.layer_idx is None:
            raise ValueError("Mamba: an inference cache needs layer_idx, the layer's number in the network; found None")
        states = inference_params.key_value_memory_dict
        if self.layer_idx not in states:
            states[self.layer_idx] = self.allocate_inference_cache(batch_size, inference_params.max_seqlen)
        elif initialize_states:
            for state in states[self.layer_idx]:
                state.zero_()
        return states[self.layer_idx]
