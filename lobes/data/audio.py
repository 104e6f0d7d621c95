"""Audio files: all reading and writing goes through here, by soundfile, with errors that name path and reason."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile as sf

from lobes.data.files import ENDING
from lobes.errors import UserError

logger = logging.getLogger(__name__)

# A header may claim any length; memory is taken only block by block, as the samples really come.
BLOCK_FRAMES = 1 << 22
UNKNOWN_SIZE = 0xFFFFFFFF  # written by tools that stream (ffmpeg to a pipe): nothing to compare with
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
    """Read the header of an audio file, not its samples; a WAV file shorter than its header says is an error.

    Every format that libsndfile reads will do (wav, flac, ogg, mp3 ...).

    Raises
    ------
    UserError
        Missing file, folder, empty file, not audio, truncated, no samples.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.zeros(4000, np.float32), 8000)
    ...     probe(f"{folder}/a.wav")
    AudioInfo(frames=4000, sample_rate=8000, channels=1, subtype='PCM_16')
    """
    with _open(path) as file:
        return _info(path, file)


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
    with _open(path) as file:
        info = _info(path, file)
        samples = _samples(path, file, info)
    if info.subtype not in INTEGER_SUBTYPES:
        _refuse_non_finite(path, samples)
    return samples, info.sample_rate


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
            f"{_name(path)}: sample rate is {own_rate} Hz, expected {rate} Hz. "
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
    return (samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)), rate


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
        raise ValueError(f"write: samples for {_name(path)} are not all finite")
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


def _open(path: str | os.PathLike[str]) -> sf.SoundFile:
    """Open for reading after the checks that give a better message than libsndfile's."""
    if os.path.isdir(path):
        raise UserError(f"{_name(path)}: is a folder, expected an audio file.")
    if not os.path.exists(path):
        raise UserError(f"{_name(path)}: no such audio file.")
    if os.path.getsize(path) == 0:
        raise UserError(f"{_name(path)}: the file is empty (0 bytes), expected audio.")
    _refuse_truncated_wav(path)
    try:
        return sf.SoundFile(os.fsencode(path))
    except (sf.LibsndfileError, TypeError) as error:
        raise UserError(f"{_name(path)}: is not a readable audio file ({_reason(error)}).") from error


def _info(path: str | os.PathLike[str], file: sf.SoundFile) -> AudioInfo:
    info = AudioInfo(file.frames, file.samplerate, file.channels, file.subtype)
    if info.frames <= 0:
        raise UserError(f"{_name(path)}: the audio file holds no samples.")
    return info


def _samples(path: str | os.PathLike[str], file: sf.SoundFile, info: AudioInfo) -> np.ndarray:
    """Read every frame that the header promises, in blocks, or say how many came."""
    blocks: list[np.ndarray] = []
    got = 0
    try:
        while got < info.frames:
            block = file.read(min(BLOCK_FRAMES, info.frames - got), dtype="float32")  # [T] or [T,C]
            if not len(block):
                break
            blocks.append(block)
            got += len(block)
    except sf.LibsndfileError as error:
        reason = f"damaged after frame {got} of {info.frames} ({_reason(error)})"
        raise UserError(f"{_name(path)}: {reason}.") from error
    if got != info.frames:
        raise UserError(f"{_name(path)}: truncated: the header promises {info.frames} frames, it holds {got}.")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _refuse_truncated_wav(path: str | os.PathLike[str]) -> None:
    """Compare the size in the data chunk with what is there: libsndfile shortens a cut WAV file without a word."""
    with open(path, "rb") as file:
        claimed, there = _wav_data_bytes(file)
    if claimed > there:
        raise UserError(f"{_name(path)}: truncated: the header promises {claimed} bytes of samples, it holds {there}.")


def _wav_data_bytes(file: BinaryIO) -> tuple[int, int]:
    """Return (bytes that the data chunk claims, bytes that follow); (0, 0) when that is not known."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return 0, 0
    total = os.fstat(file.fileno()).st_size
    while len(chunk := file.read(8)) == 8:
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return (0, 0) if size == UNKNOWN_SIZE else (size, total - file.tell())
        file.seek(size + size % 2, os.SEEK_CUR)
    return 0, 0


def _refuse_non_finite(path: str | os.PathLike[str], samples: np.ndarray) -> None:
    bad = ~np.isfinite(samples)
    if bad.any():
        first = np.argwhere(bad)[0]
        value = samples[tuple(first)]
        raise UserError(f"{_name(path)}: sample {int(first[0])} is {value}, expected finite samples.")


def _warn_when_clipping(path: str | os.PathLike[str], x: np.ndarray) -> None:
    over = int((np.abs(x) > 1.0).sum())
    if over:
        peak = float(np.abs(x).max())
        logger.warning("%s: %d samples beyond full scale were clipped (peak %.3f)", _name(path), over, peak)


def _format(path: str | os.PathLike[str]) -> str:
    """libsndfile's name of the format, from the extension before `.partial` if there is one."""
    file = Path(path)
    name = (file.with_suffix("") if file.suffix == ENDING else file).suffix.lstrip(".").upper()
    if name not in sf.available_formats():
        raise UserError(f"{_name(path)}: cannot write files of type {name.lower()!r}. Use .wav or .flac.")
    return name


def _name(path: str | os.PathLike[str]) -> str:
    """Return the user's path in a form that can be printed even if it is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
