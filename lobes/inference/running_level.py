"""The level of a live stream, which has to be found while it runs. B batch, n and m samples of a chunk, S sources."""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.nnet.level import fitting_gains, products

BLOCK_S = 0.01


class RunningLevel:
    """Brings the estimates of a stream to the level that fits the mixture so far, without a look at later samples.

    After each block of 10 ms the gains are those at which all estimates so far fit the mixture best, as in
    `lobes.nnet.level.fit_level`; within the next block the estimates are led from the gains before to them. The first
    block, of which nothing is known, is silent. The result does not depend on the chunks.

    Arguments
    ---------
    sample_rate, num_sources : int
        Of the stream.

    Example
    -------
    >>> mix, level = torch.randn(1, 1600), RunningLevel(8000, 1)
    >>> fitted = torch.cat([level(chunk, -30 * chunk[..., None]) for chunk in mix.split(100, 1)], 1)
    >>> bool(fitted[:, :80].any()), torch.allclose(fitted[:, 160:, 0], mix[:, 160:], atol=1e-5)
    (False, True)
    """

    def __init__(self, sample_rate: int, num_sources: int) -> None:
        self.block = max(round(BLOCK_S * sample_rate), 1)
        self.sums = torch.zeros(1, num_sources + 1, num_sources + 1, dtype=torch.float64)
        self.before = self.gains = torch.zeros(1, num_sources, dtype=torch.float64)
        self.done = 0  # samples of the present block
        self.waiting = torch.zeros(1, 0)  # the mixture whose estimates are not out

    def __call__(self, mix: Tensor, estimates: Tensor) -> Tensor:
        """Take what went into a stream, [B,n], and what came out, [B,m,S]; give the latter at its level."""
        mix = mix.detach().cpu().float()
        self.waiting = torch.cat([self.waiting.expand(len(mix), -1), mix], 1)
        parts, at = [estimates[:, :0]], 0
        while at < estimates.shape[1]:
            part = estimates[:, at : at + self.block - self.done]
            parts.append(self._part(part, self.waiting[:, at : at + part.shape[1]]))
            at += part.shape[1]
        self.waiting = self.waiting[:, at:].clone()
        return torch.cat(parts, 1)

    def _part(self, part: Tensor, mix: Tensor) -> Tensor:
        """A part of a block, [B,m,S]."""
        share = torch.arange(self.done, self.done + part.shape[1])[:, None] / self.block  # [m, 1]
        gains = self.before[:, None] + share * (self.gains - self.before)[:, None]  # [B, m, S]
        self.sums = self.sums + products(part, mix)
        self.done += part.shape[1]
        if self.done == self.block:
            self.done, self.before, self.gains = 0, self.gains, fitting_gains(self.sums)
        return part * gains.to(part)
