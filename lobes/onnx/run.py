"""Graphs of `lobes export --onnx` through onnxruntime; this file needs numpy and onnxruntime, and no PyTorch.

n and m samples of a chunk, B batch, T samples, S sources.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lobes.errors import UserError, install

KINDS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class OnnxGraph:
    """A graph and what its metadata say.

    Arguments
    ---------
    path : str or PathLike
        The file.
    threads : int
        Of onnxruntime; 0: as many as it likes.

    Raises
    ------
    UserError
        If onnxruntime is missing, or the file is none of ours.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"onnxruntime is missing: {install(extra='onnx')}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of onnxruntime's own kinds
            raise UserError(
                f"{os.fspath(path)}: cannot be read as a graph: {str(error).splitlines()[0][:200]}"
            ) from error
        self.facts: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        if "sample_rate" not in self.facts:
            raise UserError(
                f"{os.fspath(path)}: expected a graph of `lobes export --onnx`, this one has no sample_rate."
            )
        self.sample_rate, self.num_sources = (int(self.facts[name]) for name in ("sample_rate", "num_sources"))


class OnnxSeparator(OnnxGraph):
    """A network on whole mixtures, at the level of `Separator`; see `OnnxGraph`."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        super().__init__(path, threads)
        if "hop" in self.facts:
            raise UserError(f"{os.fspath(path)}: expected a graph of whole signals, this one is that of a stream.")

    def __call__(self, mix: np.ndarray) -> np.ndarray:
        """Separate mixtures [T] or [B, T], float32 at `sample_rate`, to [T, S] or [B, T, S]."""
        mix = np.asarray(mix, np.float32)
        if mix.ndim not in (1, 2) or not mix.size:
            raise UserError(f"expected mixtures [T] or [B, T] with at least one sample, got shape {list(mix.shape)}")
        estimates = self.session.run(["estimates"], {"mix": mix.reshape(-1, mix.shape[-1])})[0]
        return estimates if mix.ndim == 2 else estimates[0]


class OnnxStream(OnnxGraph):
    """A causal network on a signal that comes in chunks of any size; see `OnnxGraph`.

    What comes out is what `Separator.stream()` gives: the network's own level, each sample when `latency` samples
    after its start are in and a call is complete.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        super().__init__(path, threads)
        if "hop" not in self.facts:
            raise UserError(f"{os.fspath(path)}: expected the graph of a stream, this one takes whole signals.")
        self.hop, self.latency, self.delay = (int(self.facts[name]) for name in ("hop", "latency", "delay"))
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next chunk is the start of a new signal."""
        inputs = self.session.get_inputs()[1:]
        self.states: dict[str, Any] = {value.name: np.zeros(value.shape, KINDS[value.type]) for value in inputs}
        self.waiting = np.zeros(0, np.float32)  # less than a hop
        self.recent = np.zeros(0, np.float32)  # what the end reflects
        self.samples, self.skip, self.ended = 0, self.delay, False

    def feed(self, x: np.ndarray) -> np.ndarray:
        """Take the next samples [n], n >= 0, and give the estimates that are complete, [m, S]."""
        if self.ended:
            raise UserError("the stream has ended: flush() was called. reset() starts a new signal")
        x = np.asarray(x, np.float32)
        if x.ndim != 1:
            raise UserError(f"expected a chunk [n] of samples, got shape {list(x.shape)}")
        self.samples += len(x)
        self.recent = np.concatenate((self.recent, x))[-self.latency :]
        return self._run(x)

    def flush(self) -> np.ndarray:
        """End the signal and give the rest of its estimates, [m, S]."""
        samples, given = self.samples, max(self.samples - len(self.waiting) - self.delay, 0)
        if not samples:
            return np.zeros((0, self.num_sources), np.float32)
        parts = [self.feed(np.zeros(max(self._least() - samples, 0), np.float32))]
        parts += [self._run(self._end()), self._rest()]
        self.ended = True
        return np.concatenate(parts)[: samples - given]

    def _run(self, x: np.ndarray) -> np.ndarray:
        """Call the graph for each hop that is complete."""
        x = np.concatenate((self.waiting, x))
        whole = len(x) // self.hop * self.hop
        size = self.hop if self.facts["hops_per_call"] == "one" else max(whole, 1)
        parts = [np.zeros((0, self.num_sources), np.float32)]
        for start in range(0, whole, size):
            y, *states = self.session.run(None, {"mix": x[None, start : start + size], **self.states})
            self.states = dict(zip(self.states, states, strict=True))
            parts.append(y[0, self.skip :])
            self.skip = max(self.skip - size, 0)
        self.waiting = x[whole:]
        return np.concatenate(parts)

    def _least(self) -> int:
        """Samples to which a shorter signal is extended by zeros."""
        return self.latency // 2 + 1 if "weights" in self.states else self.latency

    def _end(self) -> np.ndarray:
        """What follows on a signal: half a window of its reflection, or zeros up to a whole hop."""
        if "weights" in self.states:
            half = self.latency // 2
            tail = np.concatenate((self.waiting, self.recent[-half - 1 : -1][::-1]))[:half]
            return tail[len(self.waiting) :]
        return np.zeros(-len(self.waiting) % self.hop, np.float32)

    def _rest(self) -> np.ndarray:
        """The samples that later frames would have added to."""
        if "weights" not in self.states:
            rest = self.states["sums"][0]  # [n, S]
        else:
            rest = (self.states["sums"] / np.maximum(self.states["weights"], float(self.facts["weakest"]))).T
        return rest[self.skip :]
