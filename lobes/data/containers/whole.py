"""Open an audio file so that libsndfile reads all of it, or say what is missing."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path

import soundfile as sf

from lobes.data.containers import chunked, fixed, flac, foreign, mpeg, ogg, riff
from lobes.data.containers.extent import DamagedError, Data, Extent, corrected, refuse_second_header
from lobes.data.containers.tags import after_id3
from lobes.data.containers.view import View, printable
from lobes.data.shards.member import member_of
from lobes.data.shards.opening import opened_in_shard
from lobes.errors import UserError

logger = logging.getLogger(__name__)

EXTENTS: dict[bytes, Callable[[Data], Extent | None]] = {
    rb"FORM.{4}(?:AIF[FC]|8SVX|16SV)": chunked.form,
    rb"caff": chunked.caf,
    rb"\.snd|dns\.": fixed.au,
    rb"NIST_1A\n": fixed.nist,
    rb"Creative Voice File": fixed.voc,
    rb"2BIT": fixed.avr,
    rb"MATLAB": fixed.mat5,
    rb"\x00{4}(?!ftyp|moov|mdat|wide|free|skip)|\x00{2}\x03[\xe8-\xff]": fixed.mat4,
    rb"\x01\x04": fixed.mpc2k,
    rb"ALawSoundFile\*\*\x00": fixed.wve,
    rb"\xf0\x7e": fixed.sds,
}
HEAD = 4096  # most headers of WAV files are shorter, and read without mapping the file
MPEG_NAMES = {".mp1", ".mp2", ".mp3"}  # libsndfile looks for frames there, and its decoder writes to stderr meanwhile
# Magic bytes of headers without a size, and how long these headers are at least
SIZELESS = {rb"\x64\xa3|[\x00-\x04]\x00\xa3\x64": 24, rb"PVF1\n": 15, rb" paf|fap ": 24, rb"Extended Instrument: ": 24}


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[list[sf.SoundFile]]:
    """Open for reading: one file, or one for each stream where several follow each other in it.

    A path may also name a signal in a shard (`lobes.data.shards.member`).

    Raises
    ------
    UserError
        No file, no audio, or not all of it; the message begins with the path.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     sf.write(f"{folder}/a.wav", [0.0] * 100, 8000)
    ...     with opened(f"{folder}/a.wav") as files:
    ...         [file.frames for file in files]
    [100]
    """
    if (member := member_of(path)) is not None:
        with opened_in_shard(member) as sound:
            yield [sound]
        return
    _refuse_no_file(path)
    with contextlib.ExitStack() as stack:
        try:
            parts = [stack.enter_context(view) for view in views(path) or []]
            name = os.fspath(path) if os.name == "nt" else os.fsencode(path)  # Windows has no names of bytes
            sources: Sequence[View | str | bytes] = parts if parts else [name]
            if not parts and Path(os.fsdecode(path)).suffix.lower() in MPEG_NAMES:
                _refuse_other(path)
            files = [stack.enter_context(sf.SoundFile(source)) for source in sources]
            if files[0].format == "RAW":
                _refuse_or_warn(path, files[0])
        except DamagedError as error:
            hint = f" Copy the file again, or keep what is there: {foreign.command(path)}." if error.is_cut else ""
            raise UserError(f"{printable(path)}: {error}.{hint}") from error
        except OSError as error:
            raise UserError(f"{printable(path)}: cannot be read ({error.strerror or error}).") from error
        except (sf.LibsndfileError, TypeError) as error:
            raise UserError(f"{printable(path)}: {foreign.explain(path, _head(path), reason_of(error))}.") from error
        yield files


def _refuse_other(path: str | os.PathLike[str]) -> None:
    """Names like a.vox and a.snd let libsndfile read anything as samples without a header, a web page too."""
    words = foreign.other(path, _head(path))
    if words:
        raise UserError(f"{printable(path)}: {words}.")


def _refuse_or_warn(path: str | os.PathLike[str], file: sf.SoundFile) -> None:
    """By names such as a.vox and a.au libsndfile takes anything for samples; what is known for another thing is not."""
    _refuse_other(path)
    words = "%s: has no header, or a damaged one; by its name it was read as %s at %d Hz"
    logger.warning(words, printable(path), file.subtype_info, file.samplerate)


def _refuse_no_file(path: str | os.PathLike[str]) -> None:
    if os.path.isdir(path):
        raise UserError(f"{printable(path)}: is a folder, expected an audio file.")
    if not os.path.exists(path):
        raise UserError(f"{printable(path)}: no such audio file.")
    if not os.path.isfile(path):
        raise UserError(
            f"{printable(path)}: is a pipe or a device, expected a file. Write the recording to a file first."
        )
    if os.path.getsize(path) == 0:
        raise UserError(f"{printable(path)}: the file is empty (0 bytes), expected audio.")


def _head(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read(foreign.HEAD)


def reason_of(error: Exception) -> str:
    """What libsndfile said, without the path."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def views(path: str | os.PathLike[str]) -> list[View] | None:
    """Files for libsndfile, to read one after another, where it would not read all of this one; None where it does.

    Raises
    ------
    DamagedError
        The file is cut, joined or damaged in a way that its headers show.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if os.fsdecode(path).lower().endswith(".raw"):  # soundfile asks for a format there, whatever the header
            return _inside(path, file) or [View(path, [range(size)])]
        return None if riff.is_regular(file.read(HEAD), size) else _inside(path, file)


def _inside(path: str | os.PathLike[str], file: FileIO) -> list[View] | None:
    with _mapped(file) as data:
        begin = after_id3(data)
        head = data[begin : begin + 64]
        try:
            return _views(path, data, begin, head)
        except (struct.error, ValueError, IndexError, ZeroDivisionError):
            return None  # the header itself is cut or wrong: libsndfile says how


def _views(path: str | os.PathLike[str], data: Data, begin: int, head: bytes) -> list[View] | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE" and not begin:
        return riff.wav(path, data)
    if head[:4] == b"riff":
        return riff.wave64(path, data)
    if head[:4] == flac.MAGIC:
        return flac.parts(path, data, begin)
    if head[:4] == ogg.MAGIC:
        return ogg.parts(path, data, begin)
    if mpeg.frame_at(head, 0) or (begin and head[:4] not in (b"RIFF", b"FORM")):
        return mpeg.parts(path, data, begin, len(data))
    return _extent(path, data, head)


def _extent(path: str | os.PathLike[str], data: Data, head: bytes) -> list[View] | None:
    for pattern, parse in EXTENTS.items():
        if re.match(pattern, head, re.DOTALL):
            extent = parse(data)
            return extent and corrected(path, data, extent)
    for pattern, size in SIZELESS.items():
        if re.match(pattern, head, re.DOTALL):
            refuse_second_header(data, size)
    return None


@contextlib.contextmanager
def _mapped(file: FileIO) -> Iterator[Data]:
    """The file's bytes, by the page where the file system can map files."""
    try:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        file.seek(0)
        yield file.readall()
        return
    with mapped:
        yield mapped
