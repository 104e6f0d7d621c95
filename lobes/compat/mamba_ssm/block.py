"""Residual blocks around a mixer, and the gated MLP, as in mamba_ssm. B batch, L steps, E channels.

Example
-------
>>> import torch
>>> from lobes.compat.mamba_ssm.layer import MambaLayer
>>> block = FirstMixerBlock(8, MambaLayer, norm_cls=nn.LayerNorm)
>>> y, residual = block(torch.rand(2, 5, 8))
>>> y.shape, residual.shape
(torch.Size([2, 5, 8]), torch.Size([2, 5, 8]))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.compat.mamba_ssm.named import named
from lobes.compat.mamba_ssm.norms import FusedRMSNorm, layer_norm_fn
from lobes.errors import UserError

Factory = Callable[[int], nn.Module]


@named("mamba_ssm.modules.block", "Block")
class MixerBlock(nn.Module):
    """Add, norm, mixer, and perhaps add, norm, MLP: `Block` of version 2.

    A block returns the mixer's output and the residual apart; the next block adds them.

    Arguments
    ---------
    dim : int
        Channels E.
    mixer_cls, mlp_cls, norm_cls : callable
        Make a mixer, an MLP and a norm for E channels; `nn.Identity` as `mlp_cls` stands for none.
    fused_add_norm : bool
        Add and normalise by `layer_norm_fn`, with both in float32.
    residual_in_fp32 : bool
        Keep the residual in float32.
    """

    def __init__(
        self,
        dim: int,
        mixer_cls: Factory,
        mlp_cls: Factory,
        norm_cls: Factory = nn.LayerNorm,
        fused_add_norm: bool = False,
        residual_in_fp32: bool = False,
    ) -> None:
        super().__init__()
        self.residual_in_fp32, self.fused_add_norm = residual_in_fp32, fused_add_norm
        self.norm = norm_cls(dim)
        self.mixer = mixer_cls(dim)
        self.mlp: nn.Module | None = None
        if mlp_cls is not nn.Identity:
            self.norm2 = norm_cls(dim)
            self.mlp = mlp_cls(dim)
        if fused_add_norm and not isinstance(self.norm, nn.LayerNorm | FusedRMSNorm):
            kind = type(self.norm).__name__
            raise UserError(
                f"Block: fused_add_norm expects nn.LayerNorm or mamba_ssm's RMSNorm as norm_cls, found {kind}."
            )

    def forward(
        self, hidden_states: Tensor, residual: Tensor | None = None, inference_params: Any = None, **mixer_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Run over [B, L, E]; return the output and the residual, which together are the block's result."""
        hidden_states, residual = self._add_norm(self.norm, hidden_states, residual)
        hidden_states = self.mixer(hidden_states, inference_params=inference_params, **mixer_kwargs)
        mlp = getattr(self, "mlp", None)  # objects that were pickled by version 1 have none
        if mlp is not None:
            hidden_states, residual = self._add_norm(self.norm2, hidden_states, residual)
            hidden_states = mlp(hidden_states)
        return hidden_states, residual

    def _add_norm(self, norm: Any, hidden_states: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.fused_add_norm:
            how = {"is_rms_norm": isinstance(norm, FusedRMSNorm), "eps": norm.eps, "prenorm": True}
            how["residual_in_fp32"] = self.residual_in_fp32
            return layer_norm_fn(hidden_states, norm.weight, norm.bias, residual, **how)
        residual = hidden_states if residual is None else hidden_states + residual
        normed = norm(residual.to(norm.weight.dtype))
        return normed, residual.to(torch.float32) if self.residual_in_fp32 else residual

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None, **kwargs: Any
    ) -> Any:
        """Return the mixer's states for streaming."""
        return self.mixer.allocate_inference_cache(batch_size, max_seqlen, dtype=dtype, **kwargs)  # type: ignore


@named("mamba_ssm.modules.mamba_simple", "Block")
class FirstMixerBlock(MixerBlock):
    """`Block` of version 1, which has no MLP and takes the norm as its third argument.

    The arguments are those of `MixerBlock`, without `mlp_cls`.
    """

    def __init__(
        self,
        dim: int,
        mixer_cls: Factory,
        norm_cls: Factory = nn.LayerNorm,
        fused_add_norm: bool = False,
        residual_in_fp32: bool = False,
    ) -> None:
        super().__init__(dim, mixer_cls, nn.Identity, norm_cls, fused_add_norm, residual_in_fp32)


@named("mamba_ssm.modules.mlp", "GatedMLP")
class GatedMLP(nn.Module):
    """Two layers, of which the first gives values and what they are multiplied with.

    Arguments
    ---------
    in_features, hidden_features, out_features : int
        Channels; by default 8/3 of the input inside, rounded up to `multiple_of`, and as many out as in.
    activation : callable
        Of the multiplier.
    bias : bool
        Biases in both layers.
    multiple_of : int
        The inner channels are a multiple of it.
    device, dtype
        Of the weights.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        activation: Callable[[Tensor], Tensor] = F.silu,
        bias: bool = False,
        multiple_of: int = 128,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        wanted = int(8 * in_features / 3) if hidden_features is None else hidden_features
        inner = -(-wanted // multiple_of) * multiple_of
        out = in_features if out_features is None else out_features
        made: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.fc1 = nn.Linear(in_features, 2 * inner, **made)
        self.activation = activation
        self.fc2 = nn.Linear(inner, out, **made)

    def forward(self, x: Tensor) -> Tensor:
        """Run over [..., E]."""
        value, multiplier = self.fc1(x).chunk(2, -1)
        return self.fc2(value * self.activation(multiplier))
