"""Mask networks of Mamba in the time domain. B batch, N filters, L frames, D channels, S sources."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.bimamba import SharedBiMamba


class MambaMaskNet(nn.Module):
    """Mamba-TasNet's mask network: a norm, a bottleneck, a stack of bidirectional Mamba blocks, masks.

    Used between the encoder and the decoder of `lobes.models.masking.MaskingSeparator`. Written from the paper and its
    published sizes.

    Arguments
    ---------
    n_filters : int
        Filters N of the encoder.
    d_model : int
        Channels D of the blocks.
    n_layers : int
        Blocks.
    num_sources : int
        Sources S.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.

    Source: Jiang et al. 2024, arXiv:2407.09732.

    Example
    -------
    >>> import torch
    >>> MambaMaskNet(32, 16, 2, 2)(torch.rand(3, 32, 50)).shape
    torch.Size([2, 3, 32, 50])
    """

    def __init__(
        self,
        n_filters: int = 256,
        d_model: int = 256,
        n_layers: int = 16,
        num_sources: int = 2,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
    ) -> None:
        super().__init__()
        self.num_sources = num_sources
        self.norm = nn.LayerNorm(n_filters)
        self.bottleneck = nn.Linear(n_filters, d_model)
        self.layers = nn.ModuleList(SharedBiMamba(d_model, d_state, d_conv, expand) for _ in range(n_layers))
        self.masks = nn.Linear(d_model, num_sources * n_filters)

    def forward(self, x: Tensor) -> Tensor:
        """Return masks [S, B, N, L] for encoded mixtures `x` [B, N, L]."""
        x = self.bottleneck(self.norm(x.transpose(1, 2)))  # [B, L, D]
        for layer in self.layers:
            x = layer(x)
        masks = F.relu(self.masks(x)).unflatten(2, (self.num_sources, -1))  # [B, L, S, N]
        return masks.permute(2, 0, 3, 1)
