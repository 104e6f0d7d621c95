"""The arrays that the plain numba kernels read and fill: contiguous, float32, under names.

B batch, L steps, D channels, N state. A kernel's compiled form depends on these classes, so numba sees a change here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PlainInputs(NamedTuple):
    """The inputs of a scan."""

    u: np.ndarray  # [B, L, D]
    delta: np.ndarray  # [B, L, D]
    z: np.ndarray  # [B, L, D], not read unless gated
    B: np.ndarray  # [B, L, N]
    C: np.ndarray  # [B, L, N]
    At: np.ndarray  # [N, D]
    D: np.ndarray  # [D]
    bias: np.ndarray  # [D]
    first: np.ndarray  # [B, N, D], initial state
    lengths: np.ndarray  # uint64 [B]
    reverse: bool
    softplus: bool
    gated: bool


class PlainOutputs(NamedTuple):
    """The arrays that the forward kernel fills."""

    y: np.ndarray  # [B, L, D]
    last: np.ndarray  # [B, N, D]
    saved: np.ndarray  # [B, chunks, N, D], the state before each chunk; no chunks: nothing is saved


class PlainGradients(NamedTuple):
    """The gradients that come in (y, last) and those that the backward kernel fills."""

    y: np.ndarray  # [B, L, D]
    last: np.ndarray  # [B, N, D]
    u: np.ndarray  # [B, L, D]
    delta: np.ndarray  # [B, L, D]
    z: np.ndarray  # [B, L, D]
    B: np.ndarray  # [groups, B, L, N], to be summed over groups
    C: np.ndarray  # [groups, B, L, N]
    At: np.ndarray  # [shares, N, D], to be summed over shares; added to
    D: np.ndarray  # [shares, D]
    bias: np.ndarray  # [shares, D]
    first: np.ndarray  # [B, N, D]
