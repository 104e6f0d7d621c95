"""Streams of a separator: signals that come in chunks, from a program, a file or a microphone.

B batch, n samples of a chunk, S sources.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lobes.data import audio
from lobes.errors import UserError
from lobes.inference import writing
from lobes.inference.batches import Waveform, as_tensor, to_batch
from lobes.inference.running_level import RunningLevel
from lobes.inference.speechbrain_adapter import MappingMaskNet, at_level
from lobes.models.base.contract import check_streams
from lobes.models.base.stream import Stream


class SeparatorStream:
    """What `Separator.stream` returns: the model of a separator on a signal that comes in chunks of any size.

    Arguments
    ---------
    stream : Stream
        Of the model.
    dtype : torch.dtype
        Of the model.
    device : torch.device or str
        Where the model is.

    Example
    -------
    >>> from lobes.models import get_model
    >>> model = get_model("convtasnet_cumulative", N=16, B=8, H=8, X=2, R=1).eval()
    >>> stream = SeparatorStream(model.stream(), torch.float32, "cpu")
    >>> stream.feed(np.zeros(160, np.int16)).shape, stream.flush().shape, stream.latency_ms
    (torch.Size([1, 152, 2]), torch.Size([1, 8, 2]), 2.0)
    """

    def __init__(self, stream: Stream, dtype: torch.dtype, device: torch.device | str) -> None:
        self._stream, self._dtype, self._device = stream, dtype, device
        self.sample_rate, self.num_sources = stream.sample_rate, stream.num_sources
        self.latency, self.latency_ms = stream.latency, stream.latency_ms

    def feed(self, x: Waveform) -> Tensor:
        """Take the next samples and give the estimates that are complete.

        Arguments
        ---------
        x : Tensor or np.ndarray
            [B,n] or [n], n >= 0, at the model's rate; the types are those of `Separator.separate_batch`.

        Returns
        -------
        Tensor
            [B,m,S], m >= 0, on the separator's device, as the network gives it. Together with those before, and with
            what `flush` gives, they are the network's result for the whole signal.

        Raises
        ------
        UserError
            For another shape or type, a sample that is not finite, or after `flush`.
        """
        x = as_tensor(x)
        if x.dim() in (1, 2) and not x.shape[-1]:  # which `to_batch` refuses
            x = torch.zeros(len(x) if x.dim() == 2 else self._stream.batch or 1, 0, dtype=self._dtype)
        else:
            x = to_batch(x, self._dtype)
        return self._stream.feed(x.to(self._device))

    def flush(self) -> Tensor:
        """End the signal and give the rest of its estimates, [B,m,S]."""
        return self._stream.flush()

    def reset(self) -> None:
        """Forget everything: the next chunk is the start of a new signal."""
        self._stream.reset()


def open_stream(separator: Any, sample_rate: int | None = None) -> SeparatorStream:
    """Start a stream of a separator's causal model: `feed(x)` takes a signal in chunks of any size, `flush()` ends it.

    Its estimates together are what the network gives for the whole signal, to 1e-5, at the network's own level, since
    the level that fits the whole mixture is known at its end only. Each sample is out when `latency_ms` of the signal
    after its start are in. Several streams may run at once.

    Arguments
    ---------
    separator : lobes.inference.Separator
    sample_rate : int, optional
        That of the signal, to be checked against the model's.

    Returns
    -------
    SeparatorStream

    Raises
    ------
    UserError
        If the model looks at later samples, or the rate is another one.
    """
    masknet = separator.mods["masknet"]
    model: Any = masknet.model if isinstance(masknet, MappingMaskNet) else masknet
    check_rate(sample_rate, separator.sample_rate, "the stream")
    check_streams(model, hasattr(model, "stream"))
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    return SeparatorStream(model.stream(), dtype, separator.device)


def check_rate(given: int | None, wanted: int, what: str) -> None:
    """Raise UserError if a rate is given and not the model's: a stream is not resampled, which would need the future.

    Example
    -------
    >>> check_rate(8000, 8000, "in.wav")
    """
    if given is not None and given != wanted:
        raise UserError(
            f"{what}: expected the model's sample rate, {wanted} Hz, got {given} Hz. A stream is not resampled: "
            f"convert the signal to {wanted} Hz first, or use `lobes separate`, which takes whole files at any rate"
        )


class Pace(NamedTuple):
    """How long the chunks of a stream took, in seconds of wall time, and the seconds of audio in all of them."""

    chunks: list[float]
    seconds: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of computation for a second of audio; above 1 the computation falls behind."""
        return sum(self.chunks) / self.seconds

    def percentile(self, percent: float) -> float:
        """Time that so many percent of the chunks do not exceed, in seconds."""
        return float(np.percentile(self.chunks, percent))


def stream_file(
    separator: Any, path: str | os.PathLike[str], out: str | os.PathLike[str], chunk_ms: float = 20
) -> tuple[list[Path], Pace]:
    """Feed a file to a stream chunk by chunk, as if it came live, and write the estimates.

    At the end each estimate is brought to the separator's `level`, as `Separator.separate_files` does; the file that it
    writes is the same but for rounding.

    Arguments
    ---------
    separator : lobes.inference.Separator
        Of a causal model.
    path : str or PathLike
        An audio file at the model's rate; several channels are averaged.
    out : str or PathLike
        The file to write; with several sources `<stem>_s1<suffix>` and so on.
    chunk_ms : float
        Length of a chunk in milliseconds.

    Returns
    -------
    list of Path, Pace
        The files, and how long the chunks took.

    Raises
    ------
    UserError
        If the model looks at later samples, the rate is another one, or the file cannot be read.
    """
    check_rate(audio.probe(path).sample_rate, separator.sample_rate, os.fspath(path))
    stream = open_stream(separator)
    targets = outputs_of(path, Path(out), stream.num_sources)
    mix, _ = audio.read_mono_with_rate(path)
    size = samples_of(chunk_ms, stream.sample_rate)
    parts, times = [], []
    for start in range(0, len(mix), size):
        began = time.perf_counter()
        parts.append(stream.feed(mix[start : start + size]))
        times.append(time.perf_counter() - began)
    estimates = torch.cat([*parts, stream.flush()], 1).float().cpu()  # [1,T,S]
    if not torch.isfinite(estimates).all():
        raise UserError(f"{os.fspath(path)}: the model gave NaN or infinite samples; nothing was written.")
    fitted = at_level(estimates, torch.from_numpy(mix)[None], separator.level)[0].numpy()  # [T,S]
    write_wav(targets, fitted, stream.sample_rate)
    return targets, Pace(times, len(mix) / stream.sample_rate)


def write_wav(targets: list[Path], signals: np.ndarray, rate: int) -> None:
    """Write each column of [T,S] to a WAV file, there whole or not at all; one sample format for all."""
    peak = float(np.abs(signals).max())
    subtype = writing.subtype_for("wav", peak)
    writing.say_what_is_odd(targets[0], peak, subtype)
    targets[0].parent.mkdir(parents=True, exist_ok=True)
    with writing.opened_for_writing(targets, rate, 1, "wav", subtype, len(signals)) as files:
        for file, column in zip(files, signals.T, strict=True):
            file.write(writing.encoded(column, subtype))


def outputs_of(path: str | os.PathLike[str], out: Path, num_sources: int) -> list[Path]:
    """The files of the sources: `out` itself for one; an input is never overwritten.

    Example
    -------
    >>> [path.name for path in outputs_of("in.wav", Path("out.wav"), 2)]
    ['out_s1.wav', 'out_s2.wav']
    """
    if out.suffix.lower() != ".wav":
        raise UserError(f"{out}: expected the name of a .wav file to write")
    numbers = range(1, num_sources + 1)
    targets = [out] if num_sources == 1 else [out.with_name(f"{out.stem}_s{number}{out.suffix}") for number in numbers]
    for target in targets:
        if target.resolve() == Path(path).resolve():
            raise UserError(f"{target}: is the input file and would be overwritten. Give another output file.")
    return targets


def samples_of(chunk_ms: float, sample_rate: int) -> int:
    """Samples of a chunk of so many milliseconds, at least one.

    Example
    -------
    >>> samples_of(20, 8000)
    160
    """
    if not 0 < chunk_ms <= 60_000:
        raise UserError(f"chunk_ms: expected milliseconds above 0, at most 60000, got {chunk_ms:g}")
    return max(round(chunk_ms * sample_rate / 1000), 1)


class Delayed:
    """One source of a stream, as a sound device wants it: for each block as many samples, one latency later.

    It stands at the level that fits the mixture so far, see `RunningLevel`.

    Arguments
    ---------
    stream : SeparatorStream
    source : int
        Number of the source, from 1.

    Raises
    ------
    UserError
        If there is no such source.

    Example
    -------
    >>> from lobes.models import get_model
    >>> model = get_model("convtasnet_cumulative", N=16, B=8, H=8, X=2, R=1).eval()
    >>> Delayed(SeparatorStream(model.stream(), torch.float32, "cpu"), 1)(np.zeros(30, np.float32)).shape
    (30,)
    """

    def __init__(self, stream: SeparatorStream, source: int) -> None:
        if not 1 <= source <= stream.num_sources:
            raise UserError(f"source: expected a number from 1 to {stream.num_sources}, got {source}")
        self.stream, self.source = stream, source
        self.level = RunningLevel(stream.sample_rate, stream.num_sources)
        self.waiting = np.zeros(stream.latency, np.float32)

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Take a block [n] and give a block [n]."""
        fitted = self.level(torch.from_numpy(block)[None], self.stream.feed(block).float())  # [1,m,S]
        self.waiting = np.concatenate([self.waiting, fitted[0, :, self.source - 1].cpu().numpy()])
        out, self.waiting = self.waiting[: len(block)], self.waiting[len(block) :]
        return out
