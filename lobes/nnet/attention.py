"""Self-attention across frames. B batch, L frames, F bins, D channels, H heads, E channels of a query or key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.lengths import mask
from lobes.nnet.norms import LN4DCF
from lobes.nnet.precision import at_least_fp32, no_autocast


class Projection(nn.Sequential):
    """1x1 convolution, PReLU with one slope, norm over channels and bins; keys 0, 1 and 2 as published.

    Arguments
    ---------
    n_in, n_out : int
        Channels.
    n_bins : int
        Bins F.

    Example
    -------
    >>> Projection(16, 4, 129)(torch.rand(2, 7, 129, 16)).shape
    torch.Size([2, 7, 129, 4])
    """

    def __init__(self, n_in: int, n_out: int, n_bins: int) -> None:
        super().__init__(nn.Conv2d(n_in, n_out, 1), nn.PReLU(), LN4DCF(n_out, n_bins))

    def forward(self, x: Tensor) -> Tensor:
        """Project `x` [B, L, F, D] to [B, L, F, n_out]."""
        conv, act, norm = self.parts()
        return norm(F.prelu(F.linear(x, conv.weight.flatten(1), conv.bias), act.weight))

    def parts(self) -> tuple[nn.Conv2d, nn.PReLU, LN4DCF]:
        """Convolution, activation and norm."""
        return cast("tuple[nn.Conv2d, nn.PReLU, LN4DCF]", tuple(self))


def project_heads(x: Tensor, heads: Sequence[Projection]) -> Tensor:
    """Apply the projections of all heads at once.

    Arguments
    ---------
    x : Tensor
        Input [B, L, F, D].
    heads : sequence of Projection
        One per head, of equal sizes; its weights are stacked here, in the forward pass, so that each head
        keeps its own named parameters.

    Returns
    -------
    Tensor
        [B, H, L, E * F], channel-major features.
    """
    convs, acts, norms = zip(*(head.parts() for head in heads), strict=True)
    weight = torch.cat([conv.weight.flatten(1) for conv in convs])  # [H*E, D]
    bias = torch.cat([conv.bias for conv in convs])
    slope = torch.cat([act.weight for act in acts])  # [H]
    gamma = torch.stack([norm.gamma[0] for norm in norms]).transpose(1, 2)  # [H, 1, E, F]
    beta = torch.stack([norm.beta[0] for norm in norms]).transpose(1, 2)
    y = F.linear(x, weight, bias).unflatten(-1, (len(heads), -1))  # [B, L, F, H, E]
    y = y.permute(0, 3, 1, 4, 2)  # [B, H, L, E, F]
    with no_autocast(x):
        y = F.prelu(at_least_fp32(y), slope)
        y = F.layer_norm(y, y.shape[-2:], eps=norms[0].eps)
        return (y * gamma + beta).flatten(3)  # [B, H, L, E*F]


class CrossFrameAttention(nn.Module):
    """Multi-head self-attention between whole frames, with its residual (TF-GridNet, Wang et al. 2023).

    State-dict keys are the published ones, one small network per head: `attn_conv_{Q|K|V}_{head}.{0|1|2}.*`
    and `attn_concat_proj.{0|1|2}.*`.

    Arguments
    ---------
    n_channels : int
        Channels D, divisible by the number of heads.
    n_bins : int
        Bins F.
    n_heads : int
        Heads H.
    approx_qk_dim : int
        Size of a frame's query; E = ceil(approx_qk_dim / n_bins) channels in each of the bins.

    Raises
    ------
    UserError
        If the heads do not divide the channels.

    Example
    -------
    >>> CrossFrameAttention(16, 129, n_heads=4, approx_qk_dim=512)(torch.rand(2, 7, 129, 16)).shape
    torch.Size([2, 7, 129, 16])
    """

    def __init__(self, n_channels: int, n_bins: int, n_heads: int = 4, approx_qk_dim: int = 512) -> None:
        super().__init__()
        if n_channels % n_heads:
            raise UserError(
                f"attention: n_heads must divide emb_dim, got emb_dim={n_channels}, n_heads={n_heads}; change either"
            )
        self.n_heads = n_heads
        n_query = math.ceil(approx_qk_dim / n_bins)
        for head in range(n_heads):
            self.add_module(f"attn_conv_Q_{head}", Projection(n_channels, n_query, n_bins))
            self.add_module(f"attn_conv_K_{head}", Projection(n_channels, n_query, n_bins))
            self.add_module(f"attn_conv_V_{head}", Projection(n_channels, n_channels // n_heads, n_bins))
        self.attn_concat_proj = Projection(n_channels, n_channels, n_bins)

    def heads(self, kind: str) -> list[Projection]:
        """The projections of kind "Q", "K" or "V", in head order."""
        return [self.get_submodule(f"attn_conv_{kind}_{head}") for head in range(self.n_heads)]  # type: ignore[misc]

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Attend.

        Arguments
        ---------
        x : Tensor
            Input [B, L, F, D].
        frames : Tensor or None
            Valid frames per item, Long [B]; frames after them are not attended to.

        Returns
        -------
        Tensor
            x + attention, [B, L, F, D].
        """
        query, key, value = (project_heads(x, self.heads(kind)) for kind in "QKV")  # [B, H, L, E*F or D/H*F]
        keep = None if frames is None else mask(frames, x.shape[1])[:, None, None, :]  # [B, 1, 1, L]
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=keep)  # [B, H, L, D/H*F]
        y = y.unflatten(-1, (-1, x.shape[2])).permute(0, 2, 4, 1, 3).flatten(3)  # [B, L, F, D]
        return x + self.attn_concat_proj(y)
