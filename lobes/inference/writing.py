"""Output files of any format, written block by block, there whole or not at all. T samples, C channels."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile as sf
from filelock import FileLock

from lobes.data.audio import to_int16
from lobes.data.containers.whole import printable, reason_of
from lobes.data.files import replacing
from lobes.errors import UserError, did_you_mean
from lobes.runs.lock import NO_LOCKS

# Extension -> libsndfile's format, and the sample formats for signals that 16 bits hold, and for others
FORMATS = {
    "wav": ("WAV", "PCM_16", "FLOAT"),
    "flac": ("FLAC", "PCM_16", "PCM_24"),
    "ogg": ("OGG", "VORBIS", "VORBIS"),
    "opus": ("OGG", "OPUS", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16", "FLOAT"),
    "au": ("AU", "PCM_16", "FLOAT"),
    "w64": ("W64", "PCM_16", "FLOAT"),
    "rf64": ("RF64", "PCM_16", "FLOAT"),
    "caf": ("CAF", "PCM_16", "FLOAT"),
}
OTHER_NAMES = {"aif": "aiff", "aifc": "aiff", "oga": "ogg", "wave": "wav", "snd": "au"}
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
UNLIMITED = ("FLOAT", "DOUBLE")  # hold samples beyond full scale
WAV_BYTES = 2**32 - 2**16  # more does not fit a WAV file's header
# 16-bit steps are 1/32768: a peak under -60 dBFS would be left with fewer than 33 of them.
QUIETEST_16_BIT_PEAK = 1e-3

logger = logging.getLogger(__name__)


def ending_of(wanted: str, path: str | os.PathLike[str]) -> str:
    """The extension of the outputs of a file.

    Arguments
    ---------
    wanted : str
        One of `FORMATS`, or `same`.
    path : str or PathLike
        The input.

    Raises
    ------
    UserError
        If there is no such format, or libsndfile does not write that of the input.

    Example
    -------
    >>> ending_of("flac", "a.mp3"), ending_of("same", "a.AIF")
    ('flac', 'aiff')
    """
    own = Path(os.fsdecode(path)).suffix[1:].lower()
    name = own if wanted == "same" else str(wanted).lower()
    name = OTHER_NAMES.get(name, name)
    if name in FORMATS:
        return name
    if wanted == "same":
        raise UserError(f"{printable(path)}: no files of its type can be written. Give --format wav.")
    raise UserError(f"--format {wanted}: expected one of {', '.join(FORMATS)} or same.{did_you_mean(wanted, FORMATS)}")


def suffix_for(wanted: str, path: str | os.PathLike[str]) -> str:
    """What the names of a file's outputs end in: as `ending_of`, but the input's own where `same` cannot be written.

    Such a file fails when its turn comes, and not the folder that it lies in.

    Example
    -------
    >>> suffix_for("same", "a.AIF"), suffix_for("same", "a.m4a")
    ('aiff', 'm4a')
    """
    own = Path(os.fsdecode(path)).suffix[1:].lower()
    return ending_of(wanted, path) if wanted != "same" or OTHER_NAMES.get(own, own) in FORMATS else own


def subtype_for(ending: str, peak: float, wanted: str | None = None) -> str:
    """The sample format for signals of a peak: 16 bit, or one that holds what is quieter or beyond full scale.

    Example
    -------
    >>> subtype_for("wav", 0.5), subtype_for("wav", 1.5), subtype_for("flac", 1e-5)
    ('PCM_16', 'FLOAT', 'PCM_24')
    """
    form, usual, other = FORMATS[ending]
    if wanted:
        known = sf.available_subtypes(form)
        if wanted.upper() not in known:
            hint = did_you_mean(wanted.upper(), known)
            raise UserError(f"--subtype {wanted}: {ending} files hold one of {', '.join(known)}.{hint}")
        return wanted.upper()
    return usual if peak == 0 or QUIETEST_16_BIT_PEAK <= peak <= 1 else other


def as_exact(ending: str, subtype: str, peak: float) -> str | None:
    """The sample format that keeps every digit of signals that were read in `subtype`; None where there is none.

    Example
    -------
    >>> as_exact("wav", "PCM_24", 0.5), as_exact("wav", "VORBIS", 0.5), as_exact("ogg", "PCM_16", 0.5)
    ('PCM_24', 'FLOAT', None)
    """
    known = sf.available_subtypes(FORMATS[ending][0])
    own = [subtype] if subtype in UNLIMITED or (subtype in BITS and peak <= 1) else []
    return next((name for name in [*own, "FLOAT"] if name in known), None)


def say_what_is_odd(path: Path, peak: float, subtype: str, wanted: str | None = None) -> None:
    """Warn where samples are cut off at full scale, or the sample format is not the usual one."""
    if peak > 1 and subtype not in UNLIMITED:
        logger.warning("%s: samples beyond full scale (peak %.3g) are cut off; a WAV file keeps them", path.name, peak)
    elif subtype == "FLOAT" and not wanted:
        logger.warning("%s: peak %.3g does not fit 16 bits; written as 32-bit float, level kept", path.name, peak)


def refuse_unwritable(target: Path, rate: int, channels: int, wanted: str | None = None) -> None:
    """Find out before the work whether a file of this format, rate, sample format and channels can be written.

    Raises
    ------
    UserError
        As `subtype_for` and `opened_for_writing`.

    Example
    -------
    >>> refuse_unwritable(Path("a.opus"), 11025, 1)
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: a.opus: opus files of 11025 Hz and 1 channels cannot be written (...). Give --format wav.
    """
    ending = target.suffix[1:]
    _sound_file(io.BytesIO(), target, rate, channels, subtype_for(ending, 0.0, wanted), FORMATS[ending][0]).close()


def _sound_file(raw: IO[bytes], path: Path, rate: int, channels: int, subtype: str, form: str) -> Any:
    try:
        return sf.SoundFile(raw, "w", rate, channels, subtype, format=form)
    except (sf.LibsndfileError, ValueError) as error:
        what = f"{path.suffix[1:]} files of {rate} Hz and {channels} channels cannot be written"
        raise UserError(f"{path}: {what} ({reason_of(error)}). Give --format wav.") from error


@contextlib.contextmanager
def opened_for_writing(
    paths: Sequence[Path], rate: int, channels: int, ending: str, subtype: str, frames: int
) -> Iterator[list[Any]]:
    """Open files that get their names when the block ends without an exception.

    Raises
    ------
    UserError
        If the format does not take the rate or the channels.
    """
    form = FORMATS[ending][0]
    if form == "WAV" and frames * channels * BITS.get(subtype, 64) // 8 > WAV_BYTES:
        form = "RF64"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone_at(paths[0]))
        files, raws = [], []
        for path in paths:
            raws.append(stack.enter_context(_Watched(stack.enter_context(replacing(path)), path)))
            files.append(stack.enter_context(_sound_file(raws[-1], path, rate, channels, subtype, form)))
        try:
            yield files
            for file in files:
                file.close()  # which writes, too
        finally:
            for raw in raws:
                raw.complain()


class _Watched(io.FileIO):
    """A file whose errors wait until libsndfile is left: it calls from C, where an exception is printed and lost.

    libsndfile itself would wait for the disk at every close.
    """

    def __init__(self, partial: Path, path: Path) -> None:
        super().__init__(partial, "w+b")
        self.path, self.error = path, None  # type: Path, OSError | None

    def write(self, data: Any) -> int:
        """Write all of it; what cannot be written is kept for `complain`."""
        view, done = memoryview(data).cast("B"), 0
        try:
            while done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.error = error
        return done

    def complain(self) -> None:
        """Raise what the system said, with the name of the file."""
        if self.error is not None:
            raise OSError(self.error.errno, self.error.strerror, os.fspath(self.path)) from self.error


@contextlib.contextmanager
def _alone_at(path: Path) -> Iterator[None]:
    """Wait while another process writes this file, whose partial file has the same name; lock files go again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        yield
        return
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def encoded(x: np.ndarray, subtype: str) -> np.ndarray:
    """Samples as libsndfile is to get them: integers rounded here, since it scales by 1 less than it divides by.

    Example
    -------
    >>> encoded(np.array([0.5, -1.0]), "PCM_24").tolist()
    [1073741824, -2147483648]
    """
    bits = BITS.get(subtype)
    if bits is None:
        return x if subtype == "DOUBLE" else x.astype(np.float32)
    if bits == 16:
        return to_int16(x)
    top = 2 ** (bits - 1)
    steps = np.clip(np.rint(np.asarray(x, np.float64) * top), -top, top - 1).astype(np.int64)
    return (steps << (32 - bits)).astype(np.int32)
