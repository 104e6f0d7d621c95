"""Open an audio file so that libsndfile reads all of it, or say what is missing."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
from collections.abc import Callable, Iterator
from io import FileIO

from lobes.data.containers import chunked, fixed, flac, mpeg, ogg, riff
from lobes.data.containers.extent import Data, Extent, corrected, refuse_second_header
from lobes.data.containers.tags import after_id3
from lobes.data.containers.view import View

EXTENTS: dict[bytes, Callable[[Data], Extent | None]] = {
    rb"FORM.{4}(?:AIF[FC]|8SVX|16SV)": chunked.form,
    rb"caff": chunked.caf,
    rb"\.snd|dns\.": fixed.au,
    rb"NIST_1A\n": fixed.nist,
    rb"Creative Voice File": fixed.voc,
    rb"2BIT": fixed.avr,
    rb"MATLAB": fixed.mat5,
    rb"\x00{4}|\x00{2}\x03[\xe8-\xff]": fixed.mat4,
    rb"\x01\x04": fixed.mpc2k,
    rb"ALawSoundFile\*\*\x00": fixed.wve,
    rb"\xf0\x7e": fixed.sds,
}
HEAD = 4096  # most headers of WAV files are shorter, and read without mapping the file
# no size in the header; bytes of it
SIZELESS = {rb"\x64\xa3|[\x00-\x04]\x00\xa3\x64": 24, rb"PVF1\n": 15, rb" paf|fap ": 24, rb"Extended Instrument: ": 24}


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
        except (struct.error, ValueError, IndexError):
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
    if mpeg.frame_at(head, 0) or begin:
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
