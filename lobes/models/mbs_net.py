"""MBS-Net: magnitude and phase from one band-split Mamba encoder. B batch, L frames, F bins, K bands, D channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lobes.models.base.band_model import BandModel
from lobes.models.base.contract import run_layer
from lobes.nnet.band_mamba import CrossBandBiMamba, IntraBandBiMamba
from lobes.nnet.band_split import BandDecoder, BandSplit
from lobes.nnet.memory import Memory
from lobes.nnet.mixers import chosen_direction, chosen_mixer
from lobes.nnet.precision import at_least_fp32, no_autocast

HIGHEST_GAIN = 2.0  # of the magnitude mask, so that a bin can be raised (MP-SENet, arXiv:2305.13686)


class MBSNet(BandModel):
    """Band split, Mamba over time and across bands, then a head for magnitudes and one for phases.

    The magnitude head gives each bin a gain between 0 and 2, the phase head a rotation between -pi and pi; both apply
    to the noisy spectrum. This is a working form of a design whose published code never runs its heads.

    Arguments
    ---------
    n_channels : int
        Channels D of a band.
    n_layers : int
        Layers over time.
    cross_each_layer : bool
        A layer across the bands after each layer over time, or only after the last.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.
    expansion : int or sequence of int
        Hidden size of the heads divided by D: one for all bands, or one for each.
    branches : int
        1: one encoder for both heads; 2: one for each, as in the original design.
    as_published : bool
        Layers of the published structure, as in `lobes.models.bs_bimamba.BSBiMamba`.
    bidirectional : bool
        Both directions in time, unless `direction` is given; a causal model always has the forward one only.
    causal : bool
        Forward in time only, norms over past frames.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`; its own is mamba.
    compress, **bands
        As in `lobes.models.base.band_model.BandModel`.

    Raises
    ------
    UserError
        For sizes that do not fit together.

    Example
    -------
    >>> MBSNet(n_channels=16, n_layers=1, d_state=4)(torch.rand(2, 3000)).shape
    torch.Size([2, 3000, 1])
    """

    streams = True

    def __init__(
        self,
        n_channels: int = 128,
        n_layers: int = 4,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 1,
        expansion: int | Sequence[int] = 1,
        cross_each_layer: bool = True,
        branches: int = 1,
        as_published: bool = False,
        bidirectional: bool = True,
        causal: bool = False,
        compress: float = 0.3,
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
        **bands: Any,
    ) -> None:
        super().__init__(causal=causal, compress=compress, **bands)
        mamba: dict[str, Any] = {"as_published": as_published, "d_state": d_state, "d_conv": d_conv, "expand": expand}
        mamba |= {"mixer": chosen_mixer(mixer, "mamba", causal), "mixer_width": mixer_width, "mixer_heads": mixer_heads}
        both = chosen_direction(direction, "both" if bidirectional else "forward", causal) == "both"

        def encoder() -> nn.ModuleList:
            layers: list[nn.Module] = [BandSplit(self.widths, n_channels, causal)]
            for layer in range(n_layers):
                layers.append(IntraBandBiMamba(n_channels, both, **mamba))
                if cross_each_layer or layer == n_layers - 1:
                    layers.append(CrossBandBiMamba(n_channels, **mamba))
            return nn.ModuleList(layers)

        self.encoders = nn.ModuleList(encoder() for _ in range(branches))
        head: dict[str, Any] = {"expansion": expansion, "features": self.num_sources, "gated": False, "causal": causal}
        head["start"] = [0.0] * self.num_sources  # a gain of one, a rotation of zero
        self.magnitude = BandDecoder(self.widths, n_channels, **head)
        self.phase = BandDecoder(self.widths, n_channels, **head)
        self.slope = nn.Parameter(torch.ones(sum(self.widths), 1))

    def estimate_compressed(self, spectrum: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        encoded = []  # of each branch, [B, L, K, D]
        for encoder in self.encoders:
            split, *layers = encoder.children()
            x = split(spectrum, frames, memory)
            for layer in layers:
                x = run_layer(layer, x, frames, self.gradient_checkpointing, memory)
            encoded.append(x)
        gain = self.magnitude(encoded[0], frames, memory)  # [B, L, F, S]
        turn = self.phase(encoded[-1], frames, memory)  # [B, L, F, S]
        with no_autocast(spectrum):
            gain = HIGHEST_GAIN * torch.sigmoid(self.slope * at_least_fp32(gain))
            turn = torch.pi * torch.tanh(at_least_fp32(turn))
            return turned(spectrum, gain.permute(0, 3, 1, 2), turn.permute(0, 3, 1, 2))


def turned(spectrum: Tensor, gain: Tensor, angle: Tensor) -> Tensor:
    """Scale magnitudes and rotate phases: `spectrum` [B, 2, L, F], `gain` and `angle` [B, S, L, F] -> [B, S, 2, L, F].

    Example
    -------
    >>> one = torch.ones(1, 1, 1, 1)
    >>> turned(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), 2 * one, torch.pi / 2 * one).flatten().round()
    tensor([-0., 2.])
    """
    real, imaginary = spectrum[:, None, 0], spectrum[:, None, 1]  # [B, 1, L, F]
    cos, sin = gain * torch.cos(angle), gain * torch.sin(angle)
    return torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), 2)
