"""A bidirectional LSTM for padded batches. B batch, L steps, D channels, H units."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lobes.nnet.lstm import LSTM


class BiLSTM(LSTM):
    """One bidirectional layer, D to 2 H channels; the backward direction starts at each item's own end.

    Example
    -------
    >>> import torch
    >>> BiLSTM(8, 16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 32])
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__(features, units, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B]): [B, L, 2 H], zeros after the end."""
        run: Any = super().forward  # type: ignore[has-type]
        if steps is None:
            return run(x)[0]
        packed = pack_padded_sequence(x, steps.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(run(packed)[0], batch_first=True, total_length=x.shape[1])[0]
