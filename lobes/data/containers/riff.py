"""WAV in its forms RIFF, RIFX, RF64, BW64 and Wave64: unfinished and irregular headers are given a new one."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from lobes.data.containers import mpeg
from lobes.data.containers.extent import RIFF, RIFX, W64, Chunks, Data, Extent, corrected, true_size, walk
from lobes.data.containers.format_chunk import check_format, frame_of, is_plain
from lobes.data.containers.view import View

W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
MP3_TAGS = (b"\x50\0", b"\x55\0")
LARGEST = 0xFFFFFFFF - 1024  # what a 32-bit size can hold with a header


class _Wav(NamedTuple):
    format: bytes  # body of the chunk "fmt "
    extent: Extent
    padded: bool


def wav(path: str | os.PathLike[str], data: Data) -> list[View] | None:
    """A new header before the samples, where the old one is unfinished or irregular; None where libsndfile reads it.

    Raises
    ------
    DamagedError
        As `lobes.data.containers.extent.corrected`.
    """
    chunks = RIFX if data[:4] == b"RIFX" else RIFF
    found = _parse(data, len(data), chunks)
    if found is None:
        return None
    check_format(path, found.format, chunks.head[0])
    size = true_size(path, data, found.extent)
    samples = range(found.extent.start, found.extent.start + size)
    if found.format[:2] in MP3_TAGS:
        return mpeg.parts(path, data, samples.start, samples.stop)
    if size == found.extent.size and found.padded and data[:4] != b"BW64":
        return None
    return [View(path, [_header(found.format, size, chunks), samples])]


def wave64(path: str | os.PathLike[str], data: Data) -> list[View] | None:
    """The samples of a Wave64 file without what follows them, which libsndfile would take for samples.

    Raises
    ------
    DamagedError
        As `lobes.data.containers.extent.corrected`.
    """
    frame = 0
    for name, start, size in walk(data, 40, W64):
        if name[:4] == b"fmt " and size >= 16:
            check_format(path, data[start : start + size])
            frame = frame_of(data[start : start + size])
        if name == W64_DATA:
            return corrected(path, data, Extent(start, size, W64, start - 8, "<Q", 24, frame=frame))
    return None


def is_regular(head: bytes, total: int) -> bool:
    r"""Whether the first bytes of a file of so many bytes are those of a WAV file that libsndfile reads whole.

    Example
    -------
    >>> is_regular(b"RIFF....WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data\6\0\0\0", 50)
    True
    """
    found = _parse(head, total, RIFF) if head[:4] == b"RIFF" and head[8:12] == b"WAVE" else None
    if found is None or found.format[:2] in MP3_TAGS:
        return False
    whole = found.extent.start + found.extent.size == total
    return whole and found.padded and is_plain(found.format, found.extent.size)


def _parse(data: Data, total: int, chunks: Chunks) -> _Wav | None:
    """The chunks up to the samples, or None without format or samples."""
    found, size64, padded = b"", 0, True
    at = 12
    while at < len(data):
        name, start, size = next(walk(data, at, chunks), (b"", 0, 0))
        if name == b"fmt ":
            found = data[start : start + size]
        elif name == b"ds64":
            size64 = struct.unpack_from("<Q", data, start + 8)[0]
        elif name == b"data":
            wide = data[:4] in (b"RF64", b"BW64") and size in (0, 0xFFFFFFFF)
            if len(found) < 16:
                return None
            size = _plausible(data, total, start, size64 if wide else size)
            return _Wav(found, Extent(start, size, chunks, frame=frame_of(found, chunks.head[0])), padded)
        elif not name:
            return None
        at = start + size + size % 2
        if size % 2 and data[at - 1 : at + 3] in (b"data", b"fmt ", b"LIST", b"fact"):
            at, padded = at - 1, False
    return None


def _plausible(data: Data, total: int, start: int, size: int) -> int:
    """The size without the header, where a program counted that too in a file that is whole by its first size."""
    whole = struct.unpack_from("<I", data, 4)[0] + 8 == total
    excess = size - (total - start)
    return size - excess if whole and excess in (start, start - 8) else size


def _header(form: bytes, size: int, chunks: Chunks) -> bytes:
    """RIFF or RIFX with two chunks; RF64 where the size does not fit in 32 bits."""
    pack = chunks.head[0]
    body = b"WAVE"
    if size > LARGEST:
        body += b"ds64" + struct.pack("<IQQQI", 28, size + len(form) + 56, size, 0, 0)
    body += b"fmt " + struct.pack(pack + "I", len(form)) + form + b"\0" * (len(form) % 2)
    body += b"data" + struct.pack(pack + "I", min(size, 0xFFFFFFFF) if size <= LARGEST else 0xFFFFFFFF)
    if size > LARGEST:
        return b"RF64" + b"\xff" * 4 + body
    return (b"RIFX" if pack == ">" else b"RIFF") + struct.pack(pack + "I", len(body) + size) + body
