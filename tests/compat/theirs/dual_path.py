"""A separator in SPMamba's manner: bidirectional Mamba along frequencies and along time, by the names of version 1."""

from functools import partial

import torch
from mamba_ssm.models.mixer_seq_simple import _init_weights
from mamba_ssm.modules.mamba_simple import Block, Mamba
from mamba_ssm.ops.triton.layernorm import RMSNorm
from torch import nn


def make_block(channels, index):
    mixer = partial(Mamba, layer_idx=index, d_state=16, d_conv=4, expand=4)
    return Block(channels, mixer, norm_cls=partial(RMSNorm, eps=1e-5), fused_add_norm=False)


class BothDirections(nn.Module):
    """Two stacks of blocks, of which one reads from the end; their results side by side."""

    def __init__(self, channels, layers=1):
        super().__init__()
        self.forwards = nn.ModuleList([make_block(channels, i) for i in range(layers)])
        self.backwards = nn.ModuleList([make_block(channels, i) for i in range(layers)])
        self.apply(partial(_init_weights, n_layer=layers))

    @staticmethod
    def run(blocks, x):
        residual = None
        for block in blocks:
            x, residual = block(x, residual, inference_params=None)
        return x + residual

    def forward(self, x):
        ahead = self.run(self.forwards, x)
        back = self.run(self.backwards, torch.flip(x, [1]))
        return torch.cat([ahead, torch.flip(back, [1])], -1)


class Path(nn.Module):
    """Norm, both directions, and back to the channels, along the last axis of [B, C, rows, columns]."""

    def __init__(self, channels, taps):
        super().__init__()
        self.taps = taps
        self.norm = nn.GroupNorm(1, channels)
        self.mamba = BothDirections(channels * taps)
        self.back = nn.ConvTranspose1d(2 * channels * taps, channels, taps)

    def forward(self, x):
        batch, channels, rows, columns = x.shape
        y = self.norm(x).permute(0, 2, 1, 3).reshape(batch * rows, channels, columns)
        y = y.unfold(-1, self.taps, 1).permute(0, 2, 1, 3).flatten(2)
        y = self.back(self.mamba(y).transpose(1, 2))
        return x + y.view(batch, rows, channels, columns).permute(0, 2, 1, 3)


class DualPath(nn.Module):
    """Complex spectra of a mixture, [B, 2, T, F] of real numbers, to those of its sources [B, S, 2, T, F]."""

    def __init__(self, channels=8, layers=2, taps=4, sources=2):
        super().__init__()
        self.sources = sources
        self.encoder = nn.Conv2d(2, channels, 3, padding=1)
        self.within = nn.ModuleList([Path(channels, taps) for _ in range(layers)])
        self.across = nn.ModuleList([Path(channels, taps) for _ in range(layers)])
        self.decoder = nn.ConvTranspose2d(channels, 2 * sources, 3, padding=1)

    def forward(self, spectra):
        x = self.encoder(spectra)
        for within, across in zip(self.within, self.across, strict=True):
            x = across(within(x).transpose(2, 3)).transpose(2, 3)
        return self.decoder(x).unflatten(1, (self.sources, 2))
