"""An LSTM as a mixer. B batch, L steps, D channels, H units."""

from __future__ import annotations

from torch import Tensor, nn

from lobes.nnet.lstm import LSTM
from lobes.nnet.memory import Memory
from lobes.nnet.mixers.mixer import Mixer


class LSTMMixer(Mixer):
    """An LSTM with H units (Hochreiter and Schmidhuber 1997, with forget gates) and a linear map back to D channels.

    Arguments
    ---------
    d_model : int
        Channels D.
    width : int
        Units H.
    reverse : bool
        As in `Mixer`.

    Example
    -------
    >>> import torch
    >>> LSTMMixer(8, width=16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, width: int, reverse: bool = False) -> None:
        super().__init__(reverse)
        self.lstm = LSTM(d_model, width, batch_first=True)
        self.out_proj = nn.Linear(width, d_model, bias=False)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        self.lstm.reset_parameters()
        self.out_proj.reset_parameters()

    def mix(self, x: Tensor, steps: Tensor | None, memory: Memory | None) -> Tensor:
        """Run over `x` [B, L, D]; see `Mixer`."""
        y, state = self.lstm(x, None if memory is None else memory.get(self.lstm))
        if memory is not None:
            memory[self.lstm] = state
        return self.out_proj(y)
