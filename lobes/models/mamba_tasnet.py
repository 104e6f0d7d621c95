"""Mask networks of Mamba in the time domain. B batch, N filters, L frames, D channels, S sources."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.bimamba import STARTS, BiMambaStack, SharedBiMamba


class MambaTasNetMaskNet(nn.Module):
    """Mamba-TasNet's mask network: a norm, a bottleneck, a stack of bidirectional Mamba blocks, masks through a ReLU.

    Used between the encoder and the decoder of `lobes.models.masking.MaskingSeparator`. With equal weights it equals
    the published network, whose state dicts `lobes.models.from_upstream` and `to_upstream` convert.

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
    d_state, d_conv, expand, start, mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.bimamba.BiMambaStack`.

    Source: Jiang et al. 2024, arXiv:2407.09732, and its published code.

    Example
    -------
    >>> import torch
    >>> MambaTasNetMaskNet(32, 16, 2, 2)(torch.rand(3, 32, 50)).shape
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
        start: str = STARTS[0],
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.num_sources = num_sources
        self.norm = nn.LayerNorm(n_filters, eps=1e-8)
        self.bottleneck = nn.Linear(n_filters, d_model, bias=False)
        sizes = (d_state, d_conv, expand, start, mixer, direction, mixer_width, mixer_heads)
        self.stack = BiMambaStack(d_model, n_layers, *sizes)
        self.masks = nn.Linear(d_model, num_sources * n_filters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return masks [S, B, N, L] for encoded mixtures `x` [B, N, L]."""
        x = self.stack(self.bottleneck(self.norm(x.transpose(1, 2))))  # [B, L, D]
        return _masks(self.masks(x), self.num_sources)


class MambaMaskNet(nn.Module):
    """An earlier form of `MambaTasNetMaskNet`, which folders of models name: another network than the published one.

    It sums the directions, has biases and no norm after the stack. Arguments are those of `MambaTasNetMaskNet`.

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
        return _masks(self.masks(x), self.num_sources)


def _masks(x: Tensor, num_sources: int) -> Tensor:
    """[B, L, S N] -> [S, B, N, L], never negative."""
    return F.relu(x).unflatten(2, (num_sources, -1)).permute(2, 0, 3, 1)
