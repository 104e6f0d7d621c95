"""MBS-Net: magnitude and phase from one band-split Mamba encoder. B batch, L frames, F bins, K bands, D channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lobes.models.base.contract import run_layer
from lobes.models.base.envelope import SpectralModel
from lobes.nnet.band_mamba import CrossBandBiMamba, IntraBandBiMamba
from lobes.nnet.band_split import BandDecoder, BandSplit
from lobes.nnet.precision import at_least_fp32, no_autocast

HIGHEST_GAIN = 2.0  # of the magnitude mask, so that a bin can be restored (MP-SENet, arXiv:2305.13686)


class MBSNet(SpectralModel):
    """Band split, Mamba over time and across bands, then a head for magnitudes and one for phases.

    The working form of a design whose published code never ran its heads: the magnitude head gives a gain between 0 and
    2 for each bin, the phase head a turn between -pi and pi, both on the noisy spectrum itself.

    Arguments
    ---------
    n_channels : int
        Channels D of a band.
    n_layers : int
        Layers over time.
    cross_each_layer : bool
        A step across the bands after each layer, or one after the last.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.
    expansion : int or sequence of int
        Hidden size of the heads over D, one for all bands or one for each.
    branches : int
        1: one encoder for both heads; 2: one for each, as in the first design.
    as_published : bool
        Layers of the published structure, as in `lobes.models.bs_bimamba.BSBiMamba`.
    bidirectional : bool
        Both directions in time; a causal model has only the forward one.
    causal : bool
        Forward in time only, norms over the past.
    compress
        As in `lobes.models.base.envelope.SpectralModel`, like all in `**spectral`.

    Raises
    ------
    UserError
        For sizes that do not fit together.

    Example
    -------
    >>> MBSNet(n_channels=16, n_layers=1, d_state=4)(torch.rand(2, 3000)).shape
    torch.Size([2, 3000, 1])
    """

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
        **spectral: Any,
    ) -> None:
        super().__init__(causal=causal, compress=compress, **spectral)
        mamba: dict[str, Any] = {"as_published": as_published, "d_state": d_state, "d_conv": d_conv, "expand": expand}
        both = bidirectional and not causal

        def encoder() -> nn.ModuleList:
            layers: list[nn.Module] = [BandSplit(self.widths, n_channels, causal)]
            for layer in range(n_layers):
                layers.append(IntraBandBiMamba(n_channels, both, **mamba))
                if cross_each_layer or layer == n_layers - 1:
                    layers.append(CrossBandBiMamba(n_channels, **mamba))
            return nn.ModuleList(layers)

        self.encoders = nn.ModuleList(encoder() for _ in range(branches))
        head: dict[str, Any] = {"expansion": expansion, "features": self.num_sources, "gated": False, "causal": causal}
        head["start"] = [0.0] * self.num_sources  # a gain of one, a turn of zero
        self.magnitude = BandDecoder(self.widths, n_channels, **head)
        self.phase = BandDecoder(self.widths, n_channels, **head)
        self.slope = nn.Parameter(torch.ones(sum(self.widths), 1))

    def estimate(self, spectrum: Tensor, frames: Tensor | None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        encoded = []  # of each branch, [B, L, K, D]
        for encoder in self.encoders:
            split, *layers = encoder.children()
            x = split(spectrum, frames)
            for layer in layers:
                x = run_layer(layer, x, frames, self.gradient_checkpointing)
            encoded.append(x)
        gain, turn = self.magnitude(encoded[0], frames), self.phase(encoded[-1], frames)  # [B, L, F, S]
        with no_autocast(spectrum):
            gain = HIGHEST_GAIN * torch.sigmoid(self.slope * at_least_fp32(gain))
            turn = torch.pi * torch.tanh(at_least_fp32(turn))
            return turned(spectrum, gain.permute(0, 3, 1, 2), turn.permute(0, 3, 1, 2))


def turned(spectrum: Tensor, gain: Tensor, angle: Tensor) -> Tensor:
    """Scale magnitudes and turn phases: `spectrum` [B, 2, L, F], `gain` and `angle` [B, S, L, F] -> [B, S, 2, L, F].

    Example
    -------
    >>> one = torch.ones(1, 1, 1, 1)
    >>> turned(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), 2 * one, torch.pi / 2 * one).flatten().round()
    tensor([-0., 2.])
    """
    real, imaginary = spectrum[:, None, 0], spectrum[:, None, 1]  # [B, 1, L, F]
    cos, sin = gain * torch.cos(angle), gain * torch.sin(angle)
    return torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), 2)
