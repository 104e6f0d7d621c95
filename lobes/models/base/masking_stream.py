"""The stream of a causal masking model in the time domain. B batch, N filters, L frames, S sources."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.models.base.stream import Stream
from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32


class MaskingStream(Stream):
    """The stream of a `MaskingSeparator` whose mask network takes a memory; its latency is one filter of the encoder.

    Arguments
    ---------
    model : lobes.models.masking.MaskingSeparator
        Causal.

    Example
    -------
    >>> from lobes.models.conv_tasnet import CausalConvTasNet
    >>> stream = MaskingStream(CausalConvTasNet(N=16, B=8, H=8, X=2, R=1).eval())
    >>> stream.feed(torch.rand(1, 100)).shape, stream.flush().shape
    (torch.Size([1, 88, 2]), torch.Size([1, 12, 2]))
    """

    def __init__(self, model: Any) -> None:
        self.model, self.size, self.hop = model, model.kernel_size, model.stride
        super().__init__(model.sample_rate, model.num_sources, model.kernel_size)

    def _start(self) -> None:
        self.memory = Memory()
        self.waiting: Tensor | None = None  # samples from the start of the next frame on
        self.sums: Tensor | None = None  # output that the next frames add to, [B, size - hop, S]

    def _feed(self, x: Tensor) -> Tensor:
        self.waiting = x if self.waiting is None else torch.cat((self.waiting, x), 1)
        frames = (self.waiting.shape[1] - self.size) // self.hop + 1
        if frames < 1:
            return x.new_zeros(len(x), 0, self.num_sources)
        y = self._estimate(self.waiting[:, : (frames - 1) * self.hop + self.size])
        self.waiting = self.waiting[:, frames * self.hop :].clone()
        if self.sums is not None:
            y = y + F.pad(self.sums, (0, 0, 0, y.shape[1] - self.sums.shape[1]))
        self.sums = y[:, frames * self.hop :].clone()
        return y[:, : frames * self.hop]

    def _flush(self) -> Tensor:
        """Extend the signals by zeros until whole frames cover them, as the model does."""
        assert self.waiting is not None
        left = self.waiting.shape[1]  # samples whose estimates are not out
        covered = self.size - self.hop if self.sums is not None else 0  # of them, by frames before
        last = self._feed(self.waiting.new_zeros(len(self.waiting), self.size - left)) if left > covered else None
        assert self.sums is not None
        return (self.sums if last is None else torch.cat((last, self.sums), 1))[:, :left]

    def _estimate(self, x: Tensor) -> Tensor:
        """Whole frames of signals [B, n] to what they add to the estimates, [B, n, S]."""
        encoded = self.model.encoder(x)  # [B, N, L]
        return at_least_fp32(self.model.decode(self.model.masknet(encoded, self.memory), encoded))
