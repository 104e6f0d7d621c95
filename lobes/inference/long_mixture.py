"""A long mixture through a network in chunks, at the model's rate: what it gives lies on disk. T samples, S sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import IO

import numpy as np
import torch

from lobes.errors import UserError
from lobes.inference.chunks import ChunkPlan, cut, silent_or
from lobes.inference.stitching import SpeakerOrder
from lobes.inference.voice import Voice
from lobes.nnet.level import fitting_gains, products


class NotFiniteError(UserError):
    """The network gave NaN or infinite samples."""


Run = Callable[[np.ndarray], np.ndarray]  # the network: float32 [T] to float32 [T,S]


class LongMixture:
    """The estimates of a mixture that is too long for its network; a context manager, whose end frees the disk.

    The network sees one chunk after another, and its outputs go to a temporary file as they are, with the mixture. Then
    the gain of each output is known from the whole recording: outputs have gains of their own, whichever speaker they
    hold. `blocks` reads the file, brings the outputs to their level, finds the order of the speakers, and lets each
    chunk fade into the next.

    Arguments
    ---------
    plan : ChunkPlan
    samples : int
        Of the mixture.
    sources : int
        S.
    sample_rate : int
        In Hz.
    voice : callable, optional
        As in `SpeakerOrder`.
    folder : str, optional
        Where the temporary file lies; by default where the system has such files.

    Example
    -------
    >>> plan = ChunkPlan(whole=4000, length=4000, overlap=800, margin=100)
    >>> mix = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
    >>> with LongMixture(plan, 20000, sources=1, sample_rate=8000) as long:
    ...     long.separate(lambda x: 7 * x[:, None], iter([mix]))
    ...     out = np.concatenate(list(long.blocks()))
    >>> out.shape, bool(np.allclose(out[:, 0], mix, atol=1e-5))
    ((20000, 1), True)
    """

    def __init__(
        self,
        plan: ChunkPlan,
        samples: int,
        sources: int,
        sample_rate: int,
        voice: Voice | None = None,
        folder: str | None = None,
    ) -> None:
        self.plan, self.sources, self.sample_rate, self.voice = plan, sources, sample_rate, voice
        self.spans = plan.spans(samples)
        self.own = [number * plan.hop for number in range(len(self.spans))]  # where a chunk takes over
        self.sums = torch.zeros(1, sources + 1, sources + 1, dtype=torch.float64)
        self.orders: list[tuple[int, ...]] = []
        self.folder = folder
        self.file: IO[bytes] = TemporaryFile(dir=folder)

    def __enter__(self) -> LongMixture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # of what a full disk did not take
            self.file.close()

    def separate(self, run: Run, blocks: Iterator[np.ndarray]) -> None:
        """Run the network over the mixture, which comes in blocks [n].

        Raises
        ------
        NotFiniteError
            If the network gives samples that are not finite.
        """
        ends = [own + self.plan.overlap // 2 for own in self.own[1:]] + [self.spans[-1][1]]
        begin = 0
        for (start, _), end, mix in zip(self.spans, ends, cut(blocks, self.spans), strict=True):
            estimates = silent_or(run, mix, self.sources)  # [T,S]
            if not np.isfinite(estimates).all():
                raise NotFiniteError("the model gave NaN or infinite samples; nothing was written.")
            part = slice(begin - start, end - start)  # the parts of all chunks make up the recording, each sample once
            parts = torch.from_numpy(estimates[part])[None], torch.from_numpy(mix[part])[None]
            self.sums += products(*parts)
            self._keep(np.concatenate([estimates, mix[:, None]], 1, dtype=np.float32).tobytes())
            begin = end

    def _keep(self, raw: bytes) -> None:
        """Write to the temporary file; an error of the system says where that lies."""
        try:
            self.file.write(raw)
            self.file.flush()
        except OSError as error:
            reason = f"{error.strerror} (the temporary file of a long recording; TMPDIR names another folder)"
            raise OSError(error.errno, reason, self.folder or gettempdir()) from error

    def blocks(self, level: str = "mixture", consistency: bool = False) -> Iterator[np.ndarray]:
        """Give the estimates [n,S] in blocks, from the start to the end.

        Arguments
        ---------
        level : str
            As in `lobes.inference.speechbrain_adapter.at_level`.
        consistency : bool
            As `mixture_consistency` of `lobes.inference.options.Options`.
        """
        gains = fitting_gains(self.sums)[0].float().numpy() if level == "mixture" else np.ones(self.sources, "f")
        overlap, fade = self.plan.overlap, self.plan.fade()[:, None]
        order, before = SpeakerOrder(self.sample_rate, self.voice), None
        for number, (estimates, mix) in enumerate(self._chunks()):
            estimates = estimates * gains
            first = self.own[number] - self.spans[number][0]
            if number == len(self.orders):
                self.orders.append(order.next(before, estimates[first : first + overlap], estimates))
            estimates = estimates[:, list(self.orders[number])]
            own = (consistent(estimates, mix) if consistency else estimates)[first:]
            if before is not None:
                own[:overlap] = fade * own[:overlap] + (1 - fade) * before
            last = number == len(self.spans) - 1
            before = None if last else own[len(own) - overlap :]
            yield own if last else own[: len(own) - overlap]

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Read the file again: estimates [T,S] and mixture [T] of each chunk."""
        self.file.seek(0)
        for start, end in self.spans:
            raw = self.file.read(4 * (end - start) * (self.sources + 1))
            both = np.frombuffer(raw, np.float32).reshape(end - start, -1)
            yield both[:, :-1], both[:, -1]


def consistent(estimates: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Share what the sum of the estimates [T,S] lacks of the mixture [T] equally among them.

    Source: Wisdom et al. 2019, arXiv:1811.08521, eq. 4.

    Example
    -------
    >>> consistent(np.array([[1.0, 2.0]]), np.array([5.0])).tolist()
    [[2.0, 3.0]]
    """
    rest = mix - estimates.sum(1)
    return estimates + rest[:, None].astype(estimates.dtype) / estimates.shape[1]
