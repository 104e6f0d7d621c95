"""Sequence mixers with one interface: `mixer(x [B, L, D], steps, memory)` -> [B, L, D], and their choice by name."""

from lobes.nnet.mixers.directions import Averaged, Directions
from lobes.nnet.mixers.factory import (
    DIRECTIONS,
    MIXERS,
    chosen_direction,
    chosen_mixer,
    make_mixer,
    make_mixers,
)

__all__ = [
    "DIRECTIONS",
    "MIXERS",
    "Averaged",
    "Directions",
    "chosen_direction",
    "chosen_mixer",
    "make_mixer",
    "make_mixers",
]
