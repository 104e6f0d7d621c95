"""Audio files: all reading and writing goes through here, by soundfile, with errors that name path and reason."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

from lobes.data.containers.whole import opened, printable, reason_of
from lobes.data.files import ENDING
from lobes.data.rates import HIGHEST_RATE, LOWEST_RATE
from lobes.errors import UserError

logger = logging.getLogger(__name__)

# A header may claim any length; memory is taken only block by block, as the samples really come.
BLOCK_FRAMES = 1 << 22
BLOCK_SAMPLES = 1 << 20  # in a block of `read_blocks`
CANCELLED = 1e-3  # 30 dB; two unlike channels lose 3 dB in their mean
INTEGER_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW")


class AudioInfo(NamedTuple):
    """The facts in the header of an audio file."""

    frames: int
    sample_rate: int
    channels: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the headers of an audio file, not its samples; a file shorter than they say is an error.

    Every format that libsndfile reads will do (wav, flac, ogg, mp3 ...). The length is that of what `read` gives: of
    the samples that are there where a program wrote to a pipe and left the size open, and by counting the frames of an
    MP3. That a FLAC stream is damaged or cut is found by `read` alone. A cut cannot be seen in PVF, PAF, IRCAM and XI
    files, between two pages of Ogg (the log has a warning) and between two frames of an MP3 without an index.

    Raises
    ------
    UserError
        Missing file, folder, pipe, empty file, not audio, truncated, joined, no samples, a rate outside 1 to 768 kHz.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.zeros(4000, np.float32), 8000)
    ...     probe(f"{folder}/a.wav")
    AudioInfo(frames=4000, sample_rate=8000, channels=1, subtype='PCM_16')
    """
    with opened(path) as files:
        return _info(path, files)


def duration(path: str | os.PathLike[str]) -> float:
    """Return the length of an audio file in seconds, from its header. Raises like `probe`."""
    return probe(path).seconds


def read(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a whole audio file: samples, float32 [T] for one channel and [T,C] for more, and the sample rate in Hz.

    Integer formats are scaled to [-1, 1).

    Raises
    ------
    UserError
        As `probe`, and when fewer frames come than the header promises or a sample is NaN or infinite.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.zeros((4000, 2), np.float32), 8000)
    ...     samples, rate = read(f"{folder}/a.wav")
    >>> samples.shape, rate
    ((4000, 2), 8000)
    """
    samples, info = read_with_info(path)
    return samples, info.sample_rate


def read_with_info(path: str | os.PathLike[str]) -> tuple[np.ndarray, AudioInfo]:
    """Read a file as `read` does, and the facts in its header as `probe` does, in one go."""
    with opened(path) as files:
        info = _info(path, files)
        blocks = [block for file in files for block in _blocks(path, file)]
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if info.subtype not in INTEGER_SUBTYPES:
        _refuse_non_finite(path, samples)
    return samples, info


def read_blocks(path: str | os.PathLike[str], dtype: str = "float32") -> Iterator[np.ndarray]:
    """Read an audio file in blocks, [T] for one channel and [T,C] for more; together they are what `read` gives.

    With `dtype` "float64" samples of 32 bit and doubles keep all their digits. Raises like `read`, where the damage is.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.zeros(4000, np.float32), 8000)
    ...     [block.shape for block in read_blocks(f"{folder}/a.wav")]
    [(4000,)]
    """
    with opened(path) as files:
        info, done = _info(path, files), 0
        for file in files:
            for block in _blocks(path, file, BLOCK_SAMPLES // file.channels or 1, dtype):
                if info.subtype not in INTEGER_SUBTYPES:
                    _refuse_non_finite(path, block, done)
                done += len(block)
                yield block


def read_mono(path: str | os.PathLike[str], rate: int | None = None) -> np.ndarray:
    """Read a file as one channel, float32 [T]; several channels are averaged. Raises like `read`.

    With `rate` (Hz), a file that has another sample rate is refused; nothing is resampled.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.zeros((4000, 2), np.float32), 8000)
    ...     read_mono(f"{folder}/a.wav", 8000).shape
    (4000,)
    """
    samples, own_rate = read_mono_with_rate(path)
    if rate is not None and own_rate != rate:
        raise UserError(
            f"{printable(path)}: sample rate is {own_rate} Hz, expected {rate} Hz. "
            "Resample the file, or set sample_rate to the rate of your data."
        )
    return samples


def read_mono_with_rate(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a file of any rate as one channel, float32 [T], and its sample rate in Hz; otherwise as `read_mono`.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.zeros((4000, 2), np.float32), 8000)
    ...     samples, rate = read_mono_with_rate(f"{folder}/a.wav")
    >>> samples.shape, rate
    ((4000,), 8000)
    """
    samples, rate = read(path)
    if samples.ndim == 1:
        return samples, rate
    mono = samples.mean(axis=1, dtype=np.float32)
    if np.square(mono).mean() < CANCELLED * np.square(samples).mean():
        logger.warning("%s: its channels cancel each other in their mean; give one of them", printable(path))
    return mono, rate


def write(path: str | os.PathLike[str], x: np.ndarray, rate: int, subtype: str = "PCM_16") -> None:
    """Write samples to a file. The format follows the extension, and missing folders are made.

    16-bit samples are rounded to multiples of 1/32768 here and not by libsndfile (which scales by 32767), so
    that what was read from a 16-bit file is written back bit for bit. Samples beyond full scale are clipped
    with a warning.

    Arguments
    ---------
    path : str or PathLike
        For example `out/a.wav` or `out/a.flac`, or the path that `lobes.data.files.replacing` gives for one.
    x : np.ndarray
        [T] or [T,C], floating point, full scale 1.0.
    rate : int
        Sample rate in Hz.
    subtype : str
        libsndfile's name: PCM_16, PCM_24, FLOAT ...

    Raises
    ------
    ValueError
        `x` has NaN or infinite samples, or another number of dimensions than 1 or 2.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.full(4000, 0.25, np.float32), 8000)
    ...     read(f"{folder}/a.wav")[0].shape
    (4000,)
    """
    x = np.asarray(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"write: expected samples [T] or [T,C], got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"write: samples for {printable(path)} are not all finite")
    if subtype.startswith("PCM"):
        _warn_when_clipping(path, x)
    data = to_int16(x) if subtype == "PCM_16" else x
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # libsndfile waits for the disk at every close, 6 ms a file; a corpus has thousands
    encoded = io.BytesIO()
    sf.write(encoded, data, rate, subtype=subtype, format=_format(path))
    Path(path).write_bytes(encoded.getvalue())


def to_int16(x: np.ndarray) -> np.ndarray:
    """Round floating-point samples (full scale 1.0) to 16 bit; the inverse of dividing by 32768.

    Example
    -------
    >>> to_int16(np.array([0.5, -1.0, 1.0])).tolist()
    [16384, -32768, 32767]
    """
    return np.clip(np.rint(np.asarray(x, np.float64) * 32768), -32768, 32767).astype(np.int16)


def _info(path: str | os.PathLike[str], files: Sequence[sf.SoundFile]) -> AudioInfo:
    kinds = {(file.samplerate, file.channels) for file in files}
    if len(kinds) > 1:
        found = " and ".join(f"{rate} Hz with {channels} channels" for rate, channels in sorted(kinds))
        raise UserError(f"{printable(path)}: holds streams of {found}, expected one kind. Split the file.")
    info = AudioInfo(sum(file.frames for file in files), files[0].samplerate, files[0].channels, files[0].subtype)
    if info.frames <= 0:
        raise UserError(f"{printable(path)}: the audio file holds no samples.")
    if not LOWEST_RATE <= info.sample_rate <= HIGHEST_RATE:
        rates = f"sample rate is {info.sample_rate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        raise UserError(f"{printable(path)}: {rates}. Look at how the file was made.")
    return info


def _blocks(
    path: str | os.PathLike[str], file: sf.SoundFile, frames: int = BLOCK_FRAMES, dtype: str = "float32"
) -> Iterator[np.ndarray]:
    """Read every frame that the header promises, in blocks, or say how many came."""
    got = 0
    try:
        while got < file.frames:
            block = file.read(min(frames, file.frames - got), dtype=dtype)  # [T] or [T,C]
            if not len(block):
                break
            got += len(block)
            yield block
    except sf.LibsndfileError as error:
        reason = f"damaged after frame {got} of {file.frames} ({reason_of(error)})"
        raise UserError(f"{printable(path)}: {reason}.") from error
    if got != file.frames:
        raise UserError(f"{printable(path)}: truncated: the header promises {file.frames} frames, it holds {got}.")


def _refuse_non_finite(path: str | os.PathLike[str], samples: np.ndarray, first_frame: int = 0) -> None:
    bad = ~np.isfinite(samples)
    if bad.any():
        first = np.argwhere(bad)[0]
        value = samples[tuple(first)]
        raise UserError(f"{printable(path)}: sample {first_frame + int(first[0])} is {value}, expected finite samples.")


def _warn_when_clipping(path: str | os.PathLike[str], x: np.ndarray) -> None:
    over = int((np.abs(x) > 1.0).sum())
    if over:
        peak = float(np.abs(x).max())
        logger.warning("%s: %d samples beyond full scale were clipped (peak %.3f)", printable(path), over, peak)


def _format(path: str | os.PathLike[str]) -> str:
    """libsndfile's name of the format, from the extension before `.partial` if there is one."""
    file = Path(path)
    name = (file.with_suffix("") if file.suffix == ENDING else file).suffix.lstrip(".").upper()
    if name not in sf.available_formats():
        raise UserError(f"{printable(path)}: cannot write files of type {name.lower()!r}. Use .wav or .flac.")
    return name
