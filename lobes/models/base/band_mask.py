"""Band split, layers, and a complex mask of three taps for each bin: the common part of BSRNN and BS-BiMamba.

B batch, L frames, F bins, K bands, D channels, S sources, P taps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.base.band_model import BandModel
from lobes.models.base.contract import run_layer
from lobes.nnet.band_split import BandDecoder, BandSplit
from lobes.nnet.deep_filter import CAUSAL, CENTRED, filter_over_time
from lobes.nnet.memory import Memory, behind_past
from lobes.nnet.precision import at_least_fp32, no_autocast

STARTS = ("published", "passthrough")


class BandMaskModel(BandModel):
    """Layers on bands between a `BandSplit` and a `BandDecoder` whose features are masks.

    Arguments
    ---------
    n_channels : int
        Channels D of a band.
    layers : callable
        Makes the layers, which map [B, L, K, D] to the same shape.
    expansion : int or sequence of int
        Hidden size of the mask decoder divided by D: one for all bands, or one for each.
    start : str
        "published": Xavier's weights in the decoder, too, so that an untrained model gives noise. "passthrough": the
        decoder starts near a mask of one, so that an untrained model roughly passes the mixture through.
    **bands
        As in `lobes.models.base.band_model.BandModel`. The masks of a causal model act on frames l-2 to l, those of
        another on l-1 to l+1.

    Raises
    ------
    UserError
        For another `start`.
    """

    streams = True

    def __init__(
        self,
        n_channels: int,
        layers: Callable[[], Iterable[nn.Module]],
        expansion: int | Sequence[int],
        start: str,
        **bands: Any,
    ) -> None:
        super().__init__(**bands)
        if start not in STARTS:
            raise UserError(f"start: expected {' or '.join(STARTS)}, got {start!r}")
        self.offsets = CAUSAL if self.causal else CENTRED
        self.split = BandSplit(self.widths, n_channels, self.causal)
        self.layers = nn.ModuleList(layers())
        mask = [part for offset in self.offsets for part in (float(offset == 0), 0.0)] * self.num_sources
        decoder: dict[str, Any] = {"causal": self.causal, "start": mask if start == "passthrough" else None}
        self.decoder = BandDecoder(self.widths, n_channels, expansion, len(mask), **decoder)

    def estimate_compressed(self, spectrum: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        x = self.split(spectrum, frames, memory)  # [B, L, K, D]
        for layer in self.layers:
            x = run_layer(layer, x, frames, self.gradient_checkpointing, memory)
        features = self.decoder(x, frames, memory)  # [B, L, F, S P 2]
        before = -self.offsets[0]
        past = None if memory is None else behind_past(spectrum, before, 2, memory, self)[:, :, :before]
        return masked(features, spectrum, self.num_sources, self.offsets, past)


def masked(
    features: Tensor, spectrum: Tensor, num_sources: int, offsets: tuple[int, ...], past: Tensor | None = None
) -> Tensor:
    """Apply the masks in `features` [B, L, F, S P 2] to `spectrum` [B, 2, L, F]: [B, S, 2, L, F].

    `past` are the frames before the spectrum, as in `lobes.nnet.deep_filter.filter_over_time`.

    Example
    -------
    >>> import torch
    >>> masked(torch.rand(1, 5, 4, 12), torch.rand(1, 2, 5, 4), 2, CENTRED).shape
    torch.Size([1, 2, 2, 5, 4])
    """
    with no_autocast(spectrum):
        masks = at_least_fp32(features).unflatten(3, (num_sources, len(offsets), 2))  # [B, L, F, S, P, 2]
        return filter_over_time(spectrum, masks.permute(0, 3, 4, 5, 1, 2), offsets, past)
