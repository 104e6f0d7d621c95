"""Streams: a causal network on a signal that comes in chunks. B batch, n samples of a chunk, L frames, S sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from lobes.errors import UserError
from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32
from lobes.nnet.stft_stream import Analysis, Synthesis


class Stream(ABC):
    """A network on signals that come in chunks of any size; together the results are those of the whole signals.

    The network must be in evaluation mode. Any number of streams may use one network at once: each has a memory of its
    own. Nothing that a stream keeps grows with the length of the signals.

    Arguments
    ---------
    sample_rate, num_sources : int
        Of the network.
    latency : int
        Samples n so that sample t comes out as soon as the samples before t + n are in.
    """

    def __init__(self, sample_rate: int, num_sources: int, latency: int) -> None:
        self.sample_rate, self.num_sources, self.latency = sample_rate, num_sources, latency
        self.reset()

    @property
    def latency_ms(self) -> float:
        """Longest time from the start of a sample in the input to the moment its estimate can be computed."""
        return 1000 * self.latency / self.sample_rate

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors that the stream keeps at this moment for the chunks to come.

        They stop growing when every layer has as much of the past as it looks at.

        Example
        -------
        >>> from lobes.models import get_model
        >>> stream = get_model("convtasnet_cumulative", N=16, B=8, H=8, X=2, R=1).eval().stream()
        >>> before, _ = stream.state_bytes, stream.feed(torch.rand(1, 160))
        >>> before, stream.state_bytes > 0
        (0, True)
        """
        held: dict[int, int] = {}
        _gather(vars(self), held)
        return sum(held.values())

    def reset(self) -> None:
        """Forget everything: the next chunk is the start of a new signal."""
        self.samples, self.batch, self.ended = 0, 0, False
        self._start()

    def feed(self, x: Tensor) -> Tensor:
        """Take the next samples of each signal and give the estimates that are complete.

        Arguments
        ---------
        x : Tensor
            [B, n], n >= 0; B is that of the first chunk with samples.

        Returns
        -------
        Tensor
            [B, m, S]: the next m samples of the estimates, m >= 0. After T samples at least T + 1 - latency are out.

        Raises
        ------
        UserError
            For another shape, or after `flush`.
        """
        self._check(x)
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.num_sources)
        self.samples, self.batch = self.samples + x.shape[1], len(x)
        with torch.inference_mode():  # an eighth less time than without gradients alone
            y = self._feed(x)
        return y.clone()  # a tensor that may be used in training

    def flush(self) -> Tensor:
        """End the signals and give the rest of their estimates, [B, m, S]; `reset` starts new ones."""
        if self.ended:
            raise UserError("the stream has ended: flush() was called before. reset() starts a new signal")
        self.ended = True
        if not self.samples:
            return torch.zeros(1, 0, self.num_sources)
        with torch.inference_mode():
            y = self._flush()
        return y.clone()

    def _check(self, x: Tensor) -> None:
        if self.ended:
            raise UserError("the stream has ended: flush() was called. reset() starts a new signal")
        if x.dim() != 2 or len(x) < 1 or (self.batch and len(x) != self.batch):
            batch = self.batch or "B"
            raise UserError(f"expected a chunk [{batch}, n] of samples, got shape {list(x.shape)}")

    @abstractmethod
    def _start(self) -> None:
        """Set up the memory of a new signal."""

    @abstractmethod
    def _feed(self, x: Tensor) -> Tensor:
        """Do what `feed` does, for at least one sample."""

    @abstractmethod
    def _flush(self) -> Tensor:
        """Do what `flush` does, after at least one sample."""


class SpectralStream(Stream):
    """The stream of a causal `SpectralModel`. Its latency is a window: the last frame that reaches a sample ends then.

    Arguments
    ---------
    model : lobes.models.base.envelope.SpectralModel
        Causal, with a memory in its method `estimate`.

    Example
    -------
    >>> from lobes.models.spmamba import SPMamba
    >>> small = {"n_layers": 1, "emb_dim": 4, "emb_ks": 4, "emb_hs": 4, "n_heads": 0, "expand": 1}
    >>> model, x = SPMamba(causal=True, **small).eval(), torch.rand(1, 1000)
    >>> stream = model.stream()
    >>> y = [stream.feed(chunk) for chunk in x.split(100, 1)] + [stream.flush()]
    >>> stream.latency_ms, torch.allclose(torch.cat(y, 1), model(x), atol=1e-5)
    (32.0, True)
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        super().__init__(model.sample_rate, model.num_sources, model.stft.n_fft)

    def _start(self) -> None:
        self.analysis, self.synthesis = Analysis(self.model.stft), Synthesis(self.model.stft)
        self.memory = Memory()

    def _feed(self, x: Tensor) -> Tensor:
        return self._by_source(self.synthesis.feed(self._spectra(self.analysis.feed(x))))

    def _flush(self) -> Tensor:
        return self._by_source(self.synthesis.flush(self._spectra(self.analysis.flush()), self.samples))

    def _spectra(self, spectrum: Tensor) -> Tensor:
        """Spectra of the estimates [B S, 2, L, F] from one of the mixtures [B, 2, L, F], L >= 0."""
        if not spectrum.shape[2]:
            return spectrum.repeat_interleave(self.num_sources, 0)
        return at_least_fp32(self.model.estimate(spectrum, None, self.memory)).flatten(0, 1)

    def _by_source(self, y: Tensor) -> Tensor:
        return y.unflatten(0, (-1, self.num_sources)).transpose(1, 2)  # [B, m, S]


def _gather(value: Any, held: dict[int, int]) -> None:
    """Collect the storages of the tensors in a value, address -> bytes; those of networks are no state."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, dict):
        for one in value.values():
            _gather(one, held)
    elif isinstance(value, list | tuple):
        for one in value:
            _gather(one, held)
    elif isinstance(value, Analysis | Synthesis):
        _gather(vars(value), held)
