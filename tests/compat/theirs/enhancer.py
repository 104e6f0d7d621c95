"""A denoiser in SEMamba's manner: Mamba along time and frequency between convolutions, by the names of version 2."""

import torch
from mamba_ssm import Mamba
from mamba_ssm.models.mixer_seq_simple import create_block
from mamba_ssm.modules.block import Block
from mamba_ssm.ops.triton.layer_norm import RMSNorm
from torch import nn


def make_block(channels, index):
    return Block(
        channels,
        lambda dim: Mamba(d_model=dim, d_state=16, d_conv=4, expand=4, layer_idx=index),
        nn.Identity,
        norm_cls=lambda dim: RMSNorm(dim, eps=1e-5),
        fused_add_norm=True,
        residual_in_fp32=True,
    )


class BothDirections(nn.Module):
    """A block for each direction, and a projection of both."""

    def __init__(self, channels):
        super().__init__()
        self.ahead = make_block(channels, 0)
        self.back = create_block(
            channels,
            d_intermediate=0,
            ssm_cfg={"layer": "Mamba1", "d_state": 16, "expand": 4},
            rms_norm=True,
            fused_add_norm=True,
            residual_in_fp32=True,
            layer_idx=1,
        )
        self.out = nn.ConvTranspose1d(2 * channels, channels, 1)

    def forward(self, x):
        ahead, residual = self.ahead(x)
        back, other = self.back(x.flip(1))
        y = torch.cat([ahead + residual, (back + other).flip(1)], -1)
        return self.out(y.transpose(1, 2)).transpose(1, 2)


class TimeAndFrequency(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.time, self.frequency = BothDirections(channels), BothDirections(channels)

    def forward(self, x):
        batch, channels, frames, bins = x.shape
        y = x.permute(0, 3, 2, 1).reshape(batch * bins, frames, channels)
        y = y + self.time(y)
        y = y.view(batch, bins, frames, channels).transpose(1, 2).reshape(batch * frames, bins, channels)
        y = y + self.frequency(y)
        return y.view(batch, frames, bins, channels).permute(0, 3, 1, 2)


class Enhancer(nn.Module):
    """Magnitude and phase of noisy speech, [B, 2, T, F], to a mask of the magnitude [B, T, F]."""

    def __init__(self, channels=32, layers=2):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, channels, 3, padding=1), nn.InstanceNorm2d(channels, affine=True))
        self.blocks = nn.Sequential(*[TimeAndFrequency(channels) for _ in range(layers)])
        self.decoder = nn.Conv2d(channels, 1, 1)

    def forward(self, spectra):
        return torch.sigmoid(self.decoder(self.blocks(self.encoder(spectra)))).squeeze(1)
