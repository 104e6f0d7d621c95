"""Making the blocks of a stack and their initial weights, as `mamba_ssm.models.mixer_seq_simple` does."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn

from lobes.compat.mamba_ssm.block import GatedMLP, MixerBlock
from lobes.compat.mamba_ssm.layer import MambaLayer
from lobes.compat.mamba_ssm.norms import FusedRMSNorm
from lobes.compat.mamba_ssm.refusal import refusal
from lobes.errors import UserError


def create_block(
    d_model: int,
    d_intermediate: int | dict[str, Any] | None = 0,
    ssm_cfg: dict[str, Any] | None = None,
    attn_layer_idx: list[int] | None = None,
    attn_cfg: dict[str, Any] | None = None,
    *,
    norm_epsilon: float = 1e-5,
    rms_norm: bool = False,
    residual_in_fp32: bool = False,
    fused_add_norm: bool = False,
    layer_idx: int | None = None,
    device: Any = None,
    dtype: torch.dtype | None = None,
) -> MixerBlock:
    """Make a block with a Mamba layer, as `create_block` of versions 1 and 2.

    Arguments
    ---------
    d_model : int
        Channels.
    d_intermediate : int or dict
        Inner channels of an MLP after the mixer, 0: none. A dict is `ssm_cfg`, which stands here in version 1.
    ssm_cfg : dict, optional
        Arguments of the layer.
    attn_layer_idx, attn_cfg
        Layers of attention, which are not offered: none may be listed.
    norm_epsilon : float
        `eps` of the norms.
    rms_norm : bool
        `RMSNorm` in place of `nn.LayerNorm`.
    residual_in_fp32, fused_add_norm : bool
        As in `MixerBlock`.
    layer_idx : int, optional
        The layer's number, under which an inference cache has its states.
    device, dtype
        Of the weights.

    Raises
    ------
    UserError
        For layers of another kind than Mamba-1.

    Example
    -------
    >>> block = create_block(8, ssm_cfg={"d_state": 4}, rms_norm=True, layer_idx=0)
    >>> block(torch.rand(2, 5, 8))[0].shape
    torch.Size([2, 5, 8])
    """
    if d_intermediate is None or isinstance(d_intermediate, dict):
        ssm_cfg, d_intermediate = d_intermediate or ssm_cfg, 0
    made: dict[str, Any] = {"device": device, "dtype": dtype}
    mixer = partial(MambaLayer, layer_idx=layer_idx, **_only_mamba1(ssm_cfg, attn_layer_idx), **made)
    norm = partial(FusedRMSNorm if rms_norm else nn.LayerNorm, eps=norm_epsilon, **made)
    mlp: Any = nn.Identity
    if d_intermediate:
        mlp = partial(GatedMLP, hidden_features=d_intermediate, out_features=d_model, **made)
    block = MixerBlock(d_model, mixer, mlp, norm, fused_add_norm, residual_in_fp32)
    block.layer_idx = layer_idx  # type: ignore[assignment]
    return block


def _only_mamba1(ssm_cfg: dict[str, Any] | None, attention: list[int] | None) -> dict[str, Any]:
    """The layer's arguments, without the name of its kind."""
    settings = dict(ssm_cfg or {})
    kind = settings.pop("layer", "Mamba1")
    if kind != "Mamba1":
        raise UserError(refusal(f"mamba_ssm.{kind}"))
    if attention:
        raise UserError(f"create_block: attn_layer_idx={attention}: layers of attention are not offered; leave it out.")
    return settings


def init_weights(
    module: nn.Module,
    n_layer: int,
    initializer_range: float = 0.02,
    rescale_prenorm_residual: bool = True,
    n_residuals_per_layer: int = 1,
) -> None:
    """Start the weights of a module as `_init_weights` of mamba_ssm; for `network.apply`.

    Biases of linear layers become 0 unless tagged `_no_reinit`, as that of the step sizes is; embeddings are drawn from
    a normal distribution; `out_proj.weight` and `fc2.weight` are drawn again and divided by the root of the number of
    residual additions (GPT-2, Radford et al. 2019, section 2.3).

    Arguments
    ---------
    module : nn.Module
        A module of the network.
    n_layer : int
        Layers of the network.
    initializer_range : float
        Standard deviation of embeddings.
    rescale_prenorm_residual : bool
        Draw the weights in front of residual additions again.
    n_residuals_per_layer : int
        Residual additions in a layer: 2 with an MLP.

    Example
    -------
    >>> network = nn.Sequential(nn.Linear(4, 4), MambaLayer(4))
    >>> dt_bias = network[1].dt_proj.bias.clone()
    >>> _ = network.apply(partial(init_weights, n_layer=1))
    >>> network[0].bias.abs().max().item(), torch.equal(network[1].dt_proj.bias, dt_bias)
    (0.0, True)
    """
    if isinstance(module, nn.Linear) and module.bias is not None and not getattr(module.bias, "_no_reinit", False):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=initializer_range)
    if not rescale_prenorm_residual:
        return
    for name, weight in module.named_parameters():
        if name in ("out_proj.weight", "fc2.weight"):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))  # drawn anew: `apply` may come here several times
            with torch.no_grad():
                weight.div_(math.sqrt(n_residuals_per_layer * n_layer))
