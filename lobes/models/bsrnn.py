"""Band-split RNN for enhancement. B batch, L frames, F bins, K bands, D channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lobes.models.base.band_mask import BandMaskModel
from lobes.nnet.banded import cumulative_norm, global_norm
from lobes.nnet.lstm import LSTM
from lobes.nnet.precision import at_least_fp32, no_autocast


class BSRNN(BandMaskModel):
    """BSRNN (Yu et al. 2023, arXiv:2212.00406) in the form of its open implementation: 2,963,024 parameters by default.

    First all layers over time, forward only, then all layers across bands, in both directions; then a complex mask of
    three taps for each bin. The published model is described as causal, but its norms and masks look ahead.
    `causal=True` makes it causal.

    Arguments
    ---------
    n_channels : int
        Channels D of a band; LSTMs have 2 D.
    n_layers : int
        Layers of each kind.
    expansion : int or sequence of int
        Hidden size of the mask decoder divided by D: one for all bands, or one for each.
    causal : bool
        Norms over past frames, masks on frames l-2 to l.
    **bands
        As in `lobes.models.base.band_model.BandModel`.

    Raises
    ------
    UserError
        For sizes that do not fit together.

    Example
    -------
    >>> BSRNN(n_channels=16, n_layers=1)(torch.rand(2, 3000)).shape
    torch.Size([2, 3000, 1])
    """

    def __init__(
        self,
        n_channels: int = 64,
        n_layers: int = 5,
        expansion: int | Sequence[int] = 4,
        causal: bool = False,
        **bands: Any,
    ) -> None:
        def layers() -> list[nn.Module]:
            over_time = [TimeLSTM(n_channels, causal) for _ in range(n_layers)]
            return [*over_time, *(BandLSTM(n_channels) for _ in range(n_layers))]

        super().__init__(n_channels, layers, expansion, causal=causal, **bands)


class ResidualLSTM(nn.Module):
    """x + Linear(LSTM(norm(x))), the layer of BSRNN with 2 D units in each direction; subclasses choose the axis."""

    def __init__(self, n_channels: int, bidirectional: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.lstm = LSTM(n_channels, 2 * n_channels, batch_first=True, bidirectional=bidirectional)
        self.linear = nn.Linear((4 if bidirectional else 2) * n_channels, n_channels)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def affine(self, x: Tensor) -> Tensor:
        """Scale and shift normalised values [..., D]."""
        return x * self.weight + self.bias


class TimeLSTM(ResidualLSTM):
    """The layer over the frames of each band, forward; normalised over frames and channels.

    Example
    -------
    >>> TimeLSTM(8)(torch.rand(2, 5, 3, 8)).shape
    torch.Size([2, 5, 3, 8])
    """

    def __init__(self, n_channels: int, causal: bool = False) -> None:
        super().__init__(n_channels, bidirectional=False)
        self.causal = causal

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, K, D] with `frames` valid frames per item (Long [B])."""
        with no_autocast(x):
            y = (cumulative_norm if self.causal else global_norm)(at_least_fp32(x), frames, 1e-5)
        y = self.affine(y).transpose(1, 2).flatten(0, 1)  # [B K, L, D]
        y = self.linear(self.lstm(y)[0])
        return x + y.unflatten(0, (-1, x.shape[2])).transpose(1, 2)


class BandLSTM(ResidualLSTM):
    """The layer across the bands of each frame, in both directions; normalised over bands and channels of the frame.

    Example
    -------
    >>> BandLSTM(8)(torch.rand(2, 5, 3, 8)).shape
    torch.Size([2, 5, 3, 8])
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__(n_channels, bidirectional=True)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Run over `x` [B, L, K, D]; `frames` has no effect, since frames do not mix."""
        y = x.flatten(0, 1)  # [B L, K, D]
        with no_autocast(x):
            y = global_norm(at_least_fp32(y)[:, :, None], None, 1e-5)[:, :, 0]
        return x + self.linear(self.lstm(self.affine(y))[0]).unflatten(0, x.shape[:2])
