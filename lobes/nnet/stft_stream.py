"""The STFT pair of a stream: the frames and samples of `lobes.nnet.stft.STFT`, each as soon as nothing can change it.

B batch (any number of signals), n samples of a chunk, L frames, F bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.nnet.stft import STFT, WEAKEST


class Analysis:
    """Spectra of signals that come in chunks.

    Frame l needs the samples up to l * hop_length + n_fft / 2, because it is centred. Like the frames of a whole
    signal, those at the start and at the end see it reflected; `flush` gives the latter.

    Arguments
    ---------
    stft : STFT
        Whose frames these are.

    Example
    -------
    >>> stft, x = STFT(64, 16), torch.rand(2, 200)
    >>> analysis = Analysis(stft)
    >>> parts = [analysis.feed(chunk) for chunk in x.split(7, 1)] + [analysis.flush()]
    >>> torch.equal(torch.cat(parts, 2), stft(x))
    True
    """

    def __init__(self, stft: STFT) -> None:
        self.stft, self.half = stft, stft.n_fft // 2
        self.waiting: Tensor | None = None  # from the start of the next frame on; before the first frame, all samples
        self.recent: Tensor | None = None  # the last half window and one sample more, which the end reflects
        self.started = False

    def feed(self, x: Tensor) -> Tensor:
        """Take the next samples `x` [B, n] and give the new spectra [B, 2, L, F], perhaps none."""
        self.waiting = x if self.waiting is None else torch.cat((self.waiting, x), 1)
        self.recent = x if self.recent is None else torch.cat((self.recent, x), 1)
        self.recent = self.recent[:, -self.half - 1 :].clone()
        if not self.started and self.waiting.shape[1] > self.half:
            self.waiting = torch.cat((self.waiting[:, 1 : self.half + 1].flip(1), self.waiting), 1)
            self.started = True
        return self._frames()

    def flush(self) -> Tensor:
        """Give the spectra of the last frames, in which the end is reflected."""
        if self.recent is None or self.waiting is None:
            raise ValueError("flush: expected some samples before it")
        if not self.started:  # a signal of at most half a window ends in zeros
            before = self.feed(self.recent.new_zeros(len(self.recent), self.half + 1 - self.recent.shape[1]))
        else:
            before = self._frames()  # none, in its shape
        self.waiting = torch.cat((self.waiting, self.recent[:, :-1].flip(1)), 1)
        return torch.cat((before, self._frames()), 2)

    def _frames(self) -> Tensor:
        waiting, n_fft, hop = self.waiting, self.stft.n_fft, self.stft.hop_length
        assert waiting is not None
        frames = max((waiting.shape[1] - n_fft) // hop + 1, 0) if self.started else 0
        if not frames:
            return waiting.new_zeros(len(waiting), 2, 0, self.half + 1)
        self.waiting = waiting[:, frames * hop :].clone()
        return self.stft.transform(waiting[:, : (frames - 1) * hop + n_fft])


class Synthesis:
    """Signals from spectra that come in chunks: each sample as soon as the last frame that reaches it is there.

    Arguments
    ---------
    stft : STFT
        Whose inverse this is.

    Example
    -------
    >>> stft, x = STFT(64, 16), torch.rand(2, 200)
    >>> synthesis = Synthesis(stft)
    >>> *first, last = stft(x).split(3, 2)
    >>> y = [synthesis.feed(part) for part in first] + [synthesis.flush(last, 200)]
    >>> torch.allclose(torch.cat(y, 1), x, atol=1e-6)
    True
    """

    def __init__(self, stft: STFT) -> None:
        self.stft = stft
        self.signal: Tensor | None = None  # sums that later frames add to, [B, n_fft - hop_length]
        self.weight: Tensor | None = None  # and the sums of their squared windows
        self.reflected = stft.n_fft // 2  # samples before the first one that are still to be cut off
        self.given = 0

    def feed(self, parts: Tensor) -> Tensor:
        """Take the next spectra `parts` [B, 2, L, F] and give the samples [B, n] that are complete."""
        if not parts.shape[2]:
            return parts.new_zeros(len(parts), 0)
        pieces, envelope = self.stft.pieces(parts)
        self.signal = _added(self.stft.overlap_add(pieces), self.signal)
        self.weight = _added(self.stft.overlap_add(envelope), self.weight)
        return self._give(parts.shape[2] * self.stft.hop_length)

    def flush(self, parts: Tensor, total: int) -> Tensor:
        """Take the last spectra and give the rest of signals of `total` samples."""
        left, done = total - self.given, self.feed(parts)
        rest = done[:, :0] if self.signal is None else self._give(self.signal.shape[1])
        return torch.cat((done, rest), 1)[:, :left]

    def _give(self, samples: int) -> Tensor:
        """Cut off the first samples, which no later frame reaches."""
        assert self.signal is not None and self.weight is not None
        done = (self.signal[:, :samples] / self.weight[:, :samples].clamp(min=WEAKEST))[:, self.reflected :]
        self.reflected = max(self.reflected - samples, 0)
        self.signal, self.weight = self.signal[:, samples:].clone(), self.weight[:, samples:].clone()
        self.given += done.shape[1]
        return done


def _added(sums: Tensor, before: Tensor | None) -> Tensor:
    """Sums [B, n] and, at their start, the shorter ones that are left of the frames before."""
    return sums if before is None else sums + F.pad(before, (0, sums.shape[1] - before.shape[1]))
