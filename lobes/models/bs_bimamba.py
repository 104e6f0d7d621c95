"""Band-split enhancement with bidirectional Mamba, and its three ablations.

D channels of a band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from lobes.errors import UserError
from lobes.models.base.band_mask import BandMaskModel
from lobes.nnet.band_attention import TimeBandAttention
from lobes.nnet.band_mamba import CrossBandBiMamba, IntraBandBiMamba
from lobes.nnet.mixers import chosen_direction, chosen_mixer

ADAPTIVE = (*[2] * 11, *[3] * 12, *[4] * 8)  # hidden sizes divided by D, up to 1, 4 and 8 kHz
# ablation -> (with layers across bands, hidden sizes of the mask decoder)
ABLATIONS: dict[int, tuple[bool, int | Sequence[int]]] = {1: (False, 4), 2: (True, 4), 3: (True, ADAPTIVE)}


class BSBiMamba(BandMaskModel):
    """Band split, Mamba over time (and across bands), a complex mask of three taps for each bin.

    The ablations of the BS-BiMamba study: 1 has layers over time only, 2 adds layers across bands, 3 gives low bands a
    smaller mask decoder. In the published structure each direction has a norm and a residual of its own; the default
    leaves them out (see `MambaPair`). Mamba's own initialisation is kept, which the study's code overwrites.

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
        Hidden size of the mask decoder divided by D: one for all bands, or one for each; None: the ablation's.
    as_published : bool
        The published structure of a layer, and Xavier's start of the mask decoder.
    n_heads : int
        Heads of an attention at the end of each layer, along time and along bands with the same weights, see
        `lobes.nnet.band_attention.TimeBandAttention`. 0, as in the study: no attention.
    causal : bool
        Forward in time only, norms over past frames, masks on frames l-2 to l. Without attention.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`; its own is mamba in both directions.
    **bands
        As in `lobes.models.base.band_model.BandModel`.

    Raises
    ------
    UserError
        For an unknown ablation, sizes that do not fit together, and a causal network with attention.

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
        n_heads: int = 0,
        causal: bool = False,
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
        **bands: Any,
    ) -> None:
        if ablation not in ABLATIONS:
            raise UserError(f"BSBiMamba: expected ablation 1, 2 or 3, got {ablation}")
        if causal and n_heads:
            raise UserError(
                f"BSBiMamba: attention along time looks at later frames, got causal: true and n_heads: {n_heads}; "
                "n_heads: 0 leaves it out"
            )
        cross, default = ABLATIONS[ablation]
        mamba: dict[str, Any] = {"as_published": as_published, "d_state": d_state, "d_conv": d_conv, "expand": expand}
        mamba |= {"mixer": chosen_mixer(mixer, "mamba", causal), "mixer_width": mixer_width, "mixer_heads": mixer_heads}
        both = chosen_direction(direction, causal=causal) == "both"

        def layers() -> Iterator[nn.Module]:
            for _ in range(n_layers):
                yield IntraBandBiMamba(n_channels, bidirectional=both, **mamba)
                if cross:
                    yield CrossBandBiMamba(n_channels, **mamba)
                if n_heads:
                    yield TimeBandAttention(n_channels, n_heads)

        hidden = default if expansion is None else expansion
        start = "published" if as_published else "passthrough"
        super().__init__(n_channels, layers, hidden, start, causal=causal, **bands)
