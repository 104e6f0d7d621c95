"""Band-split enhancement with bidirectional Mamba, and its three ablations.

B batch, L frames, F bins, K bands, D channels, S sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.spectral import SpectralModel
from lobes.nnet.band_mamba import CrossBandBiMamba, IntraBandBiMamba
from lobes.nnet.band_split import BandDecoder, BandSplit
from lobes.nnet.bands import band_widths
from lobes.nnet.deep_filter import CAUSAL, CENTRED, filter_over_time
from lobes.nnet.precision import at_least_fp32, no_autocast

ADAPTIVE = (*[2] * 11, *[3] * 12, *[4] * 8)  # hidden sizes over D, up to 1, 4 and 8 kHz
# ablation -> (with a step across the bands, hidden sizes of the mask decoder)
ABLATIONS: dict[int, tuple[bool, int | Sequence[int]]] = {1: (False, 4), 2: (True, 4), 3: (True, ADAPTIVE)}


class BSBiMamba(SpectralModel):
    """Band split, Mamba over time (and across bands), a complex mask of three taps for each bin.

    The ablations of the BS-BiMamba study: 1 has time only, 2 adds the step across bands, 3 gives low bands a smaller
    mask decoder. As published, a direction has an inner norm and residual; the default is without (see `MambaPair`).
    Mamba's own initialisation is kept, which the study's code overwrites.

    Arguments
    ---------
    ablation : int
        1, 2 or 3.
    n_channels : int
        Channels D of a band.
    n_layers : int
        Layers, each over time and (ablations 2 and 3) across bands.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.
    expansion : int, sequence of int or None
        Hidden size of the mask decoder over D, one for all bands or one for each; None: the ablation's.
    as_published : bool
        The published structure of a layer.
    causal : bool
        Forward in time only, norms over the past, masks on frames l-2 to l.
    split, n_bands
        As in `lobes.nnet.bands.band_widths`.
    num_sources, sample_rate, n_fft, hop_length, compress, gradient_checkpointing
        As in `lobes.models.spectral.SpectralModel`.

    Raises
    ------
    UserError
        For an unknown ablation, and sizes that do not fit together.

    Example
    -------
    >>> import torch
    >>> BSBiMamba(ablation=2, n_channels=16, n_layers=1, d_state=4)(torch.rand(2, 3000)).shape
    torch.Size([2, 3000, 1])
    """

    def __init__(
        self,
        ablation: int = 2,
        n_channels: int = 128,
        n_layers: int = 4,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 1,
        expansion: int | Sequence[int] | None = None,
        as_published: bool = False,
        causal: bool = False,
        split: str = "fixed",
        n_bands: int = 31,
        num_sources: int = 1,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 128,
        compress: float = 1.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(num_sources, sample_rate, n_fft, hop_length, causal, compress, gradient_checkpointing)
        if ablation not in ABLATIONS:
            raise UserError(f"BSBiMamba: expected ablation 1, 2 or 3, got {ablation}")
        cross, default = ABLATIONS[ablation]
        widths = band_widths(split, n_fft // 2 + 1, sample_rate, n_bands)
        mamba: dict[str, Any] = {"as_published": as_published, "d_state": d_state, "d_conv": d_conv, "expand": expand}
        self.offsets = CAUSAL if causal else CENTRED
        self.split = BandSplit(widths, n_channels, causal)
        self.layers = nn.ModuleList()
        for _ in range(n_layers):
            self.layers.append(IntraBandBiMamba(n_channels, bidirectional=not causal, **mamba))
            self.layers.extend([CrossBandBiMamba(n_channels, **mamba)] if cross else [])
        features = 2 * len(self.offsets) * num_sources
        expansion = default if expansion is None else expansion
        self.decoder = BandDecoder(widths, n_channels, expansion, features, causal=causal)

    def estimate(self, spectrum: Tensor, frames: Tensor | None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        x = self.split(spectrum, frames)  # [B, L, K, D]
        for layer in self.layers:
            x = self.run(layer, x, frames)
        return masked(self.decoder(x, frames), spectrum, self.num_sources, self.offsets)


def masked(features: Tensor, spectrum: Tensor, num_sources: int, offsets: tuple[int, ...]) -> Tensor:
    """Apply the masks in `features` [B, L, F, S taps 2] to `spectrum` [B, 2, L, F]: [B, S, 2, L, F].

    Example
    -------
    >>> import torch
    >>> masked(torch.rand(1, 5, 4, 12), torch.rand(1, 2, 5, 4), 2, CENTRED).shape
    torch.Size([1, 2, 2, 5, 4])
    """
    with no_autocast(spectrum):
        masks = at_least_fp32(features).unflatten(3, (num_sources, len(offsets), 2))  # [B, L, F, S, P, 2]
        return filter_over_time(spectrum, masks.permute(0, 3, 4, 5, 1, 2), offsets)
