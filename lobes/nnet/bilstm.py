"""An LSTM for padded batches, in both directions or forward. B batch, L steps, D channels, H units."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lobes.nnet.lengths import on_cpu
from lobes.nnet.lstm import LSTM
from lobes.nnet.memory import Memory


class BiLSTM(LSTM):
    """One layer, D to 2 H channels, whose backward direction starts at each item's own end; forward alone, to H.

    Example
    -------
    >>> import torch
    >>> BiLSTM(8, 16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 32])
    """

    def __init__(self, features: int, units: int, bidirectional: bool = True) -> None:
        super().__init__(features, units, batch_first=True, bidirectional=bidirectional)
        self.outputs = 2 * units if bidirectional else units

    def forward(  # type: ignore[override]
        self, x: Tensor, steps: Tensor | None = None, memory: Memory | None = None
    ) -> Tensor:
        """Run over `x` [B, L, D] with `steps` valid steps per item (Long [B]): [B, L, outputs], zeros after the end.

        With a `memory`, which forward alone takes, `x` is a chunk of a stream.
        """
        run: Any = super().forward  # type: ignore[has-type]
        if steps is None:
            y, state = run(x, None if memory is None else memory.get(self))
            if memory is not None:
                memory[self] = state
            return y
        # from the longest to the shortest, as PyTorch would sort them; then it would read the order from the device
        counts, order = on_cpu(steps).sort(descending=True)
        place, back = (indices.to(x.device, non_blocking=True) for indices in (order, order.argsort()))
        packed = pack_padded_sequence(x.index_select(0, place), counts, batch_first=True)
        y = pad_packed_sequence(run(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        return y.index_select(0, back)
