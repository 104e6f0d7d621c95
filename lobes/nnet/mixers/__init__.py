"""Sequence mixers with one interface: `mixer(x [B, L, D], steps, memory)` -> [B, L, D], and their choice by name.

Networks that can change their mixer have four options; null stands for what the network was designed with.

- `mixer`: mamba, mamba2, lstm, xlstm (its mLSTM), attention or conv. Frame, norms and residuals stay.
- `direction`: both or forward, of the sequence models in time. Those across bins or bands always see both sides.
- `mixer_width`: inner channels of a mixer in one direction, or units of an LSTM.
- `mixer_heads`: heads of mamba2, xlstm and attention, 4 unless given.
"""

from lobes.nnet.mixers.directions import Averaged, Directions
from lobes.nnet.mixers.factory import (
    BOTH_IN_ONE,
    DIRECTIONS,
    MIXERS,
    chosen_direction,
    chosen_mixer,
    chosen_width,
    make_mixer,
    make_mixers,
)

__all__ = [
    "BOTH_IN_ONE",
    "DIRECTIONS",
    "MIXERS",
    "Averaged",
    "Directions",
    "chosen_direction",
    "chosen_mixer",
    "chosen_width",
    "make_mixer",
    "make_mixers",
]
