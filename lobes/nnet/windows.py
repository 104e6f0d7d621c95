"""Windows along an axis and their overlap-add. M sequences, S positions, W windows, D channels (last axis)."""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

Count = TypeVar("Count", int, Tensor)


def covered(n: Count, size: int, hop: int) -> Count:
    """Return the smallest number of positions >= `n` that windows of `size` at every `hop` cover exactly.

    Example
    -------
    >>> covered(10, 4, 4), covered(10, 4, 1), covered(2, 4, 1)
    (12, 10, 4)
    """
    return n_windows(n, size, hop) * hop - hop + size


def n_windows(n: Count, size: int, hop: int) -> Count:
    """Return the number of windows that cover `n` positions, at least one.

    Example
    -------
    >>> n_windows(10, 4, 4), n_windows(10, 4, 1), n_windows(2, 4, 1)
    (3, 7, 1)
    """
    windows = -(-(n - size) // hop) + 1
    return windows.clamp(min=1) if isinstance(windows, Tensor) else max(windows, 1)


def split_windows(x: Tensor, size: int, hop: int) -> Tensor:
    """Cut sequences [M, S, D], where S is `covered`, into windows of `size` at every `hop`: [M, W, D * size].

    Windows are channel-major as `torch.nn.functional.unfold` gives them: index = channel * size + position.

    Example
    -------
    >>> import torch
    >>> split_windows(torch.rand(2, 12, 16), 4, 4).shape
    torch.Size([2, 3, 64])
    """
    return x.unfold(1, size, hop).flatten(2)


class MergeWindows(nn.ConvTranspose1d):
    """Map each window's features to `size` positions and overlap-add, as a transposed convolution does.

    The map is one matrix product, written channels last; the windows are then added in pieces of one hop.
    If the hop does not divide the size, the transposed convolution itself is used.

    Arguments
    ---------
    n_features : int
        Features of a window.
    n_channels : int
        Channels D of the result.
    size, hop : int
        Length of a window, and positions from window to window.

    Example
    -------
    >>> import torch
    >>> MergeWindows(128, 16, size=4, hop=4)(torch.rand(2, 3, 128)).shape
    torch.Size([2, 12, 16])
    """

    def __init__(self, n_features: int, n_channels: int, size: int, hop: int) -> None:
        super().__init__(n_features, n_channels, size, hop)
        self.size, self.hop = size, hop

    @property
    def overlap(self) -> int:
        """The number of windows in which a position lies, rounded down."""
        return self.size // self.hop

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Merge `x` [M, W, features] to [M, S, D]."""
        return self.spread(x) + self.bias  # type: ignore[operator]

    def spread(self, x: Tensor) -> Tensor:
        """Merge without the bias, so that parts of a sequence add up: `x` [M, W, features] to [M, S, D]."""
        if self.size % self.hop:
            return F.conv_transpose1d(x.transpose(1, 2), self.weight, None, self.hop).transpose(1, 2)
        weight = self.weight.permute(2, 1, 0).flatten(0, 1)  # [size * D, features]
        y = F.linear(x, weight).unflatten(-1, (-1, self.hop * self.out_channels))  # [M, W, size / hop, hop * D]
        return self._overlap_add(y).reshape(x.shape[0], -1, self.out_channels)

    def _overlap_add(self, y: Tensor) -> Tensor:
        """Add piece r of window w at hop w + r: [M, W, R, P] -> [M, W + R - 1, P]."""
        pieces = y.unbind(2)
        last = len(pieces) - 1
        return sum(F.pad(piece, (0, 0, r, last - r)) for r, piece in enumerate(pieces))  # type: ignore[return-value]
