"""Where the samples of a file stand by its header, and whether that many bytes are there: cut, joined or unfinished."""

from __future__ import annotations

import logging
import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from lobes.data.containers.view import View, printable

logger = logging.getLogger(__name__)

Data = bytes | mmap.mmap

# Programs that write to a pipe cannot go back and fill in the size. They leave a limit of 32 bits there, minus a header
# or rounded down to whole frames: sox (WAV, AIFF), arecord, ffmpeg; with 64 bits, -1 or the largest number.
PLACEHOLDERS = (0x7F000000, 0x7FFFF000, 0x80000000, 0xFFFFF000, 0xFFFFFFFF, 1 << 63, 1 << 64)
ROUNDING = 256
# What follows the samples and is of no known kind is let pass up to this share of them.
STRAY = 0.01
BLOCK = 1 << 24


class DamagedError(Exception):
    """A file that is not whole, or holds more than one recording; the message goes behind the file's name."""

    @property
    def is_cut(self) -> bool:
        """Whether something is missing or damaged, not too much there."""
        return str(self).startswith(("truncated", "damaged"))


class Chunks(NamedTuple):
    """How a container writes the heads of its chunks."""

    head: str  # struct: name and size
    pad: int  # bodies end at multiples of this many bytes
    counts_head: bool = False


RIFF, RIFX, CAF, W64 = Chunks("<4sI", 2), Chunks(">4sI", 2), Chunks(">4sq", 1), Chunks("<16sQ", 8, True)


class Extent(NamedTuple):
    """The samples in a file by its header, in bytes."""

    start: int
    size: int
    chunks: Chunks | None = None  # what may follow the samples
    field: int | None = None  # offset of the size in the header, where libsndfile needs a correct one
    form: str = ""  # struct of that size
    extra: int = 0  # what that size counts more than the samples
    greedy: bool = True  # libsndfile takes all that follows for samples
    frame: int = 0  # bytes of a frame, one sample of each channel; 0 where the samples are coded
    frames: int = 0  # how many the header counts elsewhere; 0 where it does not


def walk(data: Data, at: int, chunks: Chunks) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and size of the body of each chunk from an offset on; the last size may exceed the file."""
    head = struct.calcsize(chunks.head)
    while at + head <= len(data):
        name, size = struct.unpack_from(chunks.head, data, at)
        size -= head * chunks.counts_head
        yield name, at + head, size
        at += head + max(size, 0)
        at += -at % chunks.pad


def corrected(path: str | os.PathLike[str], data: Data, extent: Extent) -> list[View] | None:
    """The file with the true size in its header and nothing behind its samples; None where libsndfile needs no help.

    Raises
    ------
    DamagedError
        If samples are missing, or bytes of no known kind or another recording follow them.
    """
    size = true_size(path, data, extent)
    stop = extent.start + size
    if size == extent.size and (stop == len(data) or not extent.greedy):
        return None
    if extent.field is None:
        return [View(path, [range(stop)])]
    number = struct.pack(extent.form, size + extent.extra)
    return [View(path, [range(extent.field), number, range(extent.field + len(number), stop)])]


def true_size(path: str | os.PathLike[str], data: Data, extent: Extent) -> int:
    """How many bytes of samples a file holds; raises as `corrected`. The log has a warning where some are left out."""
    size = _size(path, data, extent)
    counted = extent.frames * extent.frame
    count = f"{extent.frames} frames" if extent.frames else "frames"
    words = f"its header counts {count} of {extent.frame} bytes, and {size} bytes of samples"
    if counted and abs(counted - size) > STRAY * size:
        raise DamagedError(f"damaged: {words}")
    if (counted and counted != size) or (extent.frame and size % extent.frame):
        logger.warning("%s: %s; is it right?", printable(path), words)
    return size


def _size(path: str | os.PathLike[str], data: Data, extent: Extent) -> int:
    """The same from the sizes alone."""
    there = len(data) - extent.start
    if extent.size > there or extent.size < 0:
        if is_placeholder(extent.size) or -ROUNDING <= extent.size < 0:
            refuse_second_header(data, extent.start)
            return there
        raise DamagedError(f"truncated: the header promises {extent.size} bytes of samples, it holds {max(there, 0)}")
    stop = extent.start + extent.size
    if stop == len(data) or _is_chunk(data, stop, extent.chunks):
        return extent.size
    if extent.size == 0 or is_placeholder(
        extent.size
    ):  # stopped before the size was written, or longer than it can say
        refuse_second_header(data, extent.start)
        return there
    _refuse_stray(path, data, extent, stop)
    return extent.size


def is_placeholder(size: int) -> bool:
    """Whether a size stands for "not known".

    Example
    -------
    >>> is_placeholder(0x7FFFF000), is_placeholder(0xFFFFFFFF - 36), is_placeholder(2_000_000_000)
    (True, True, False)
    """
    return any(abs(size - limit) <= ROUNDING for limit in PLACEHOLDERS)


def refuse_second_header(data: Data, start: int) -> None:
    """Look for the file's own header among samples of unknown size: files joined by `cat`."""
    signature = data[8 : min(24, start)].rstrip(b"\0")  # zeros at its end would slow the search in silence
    for begin in range(start, len(data), BLOCK):
        block = data[begin - 8 : begin + BLOCK + len(signature)]
        at = block.find(signature, 8)
        while at >= 0:
            if block[at - 8 : at - 4] == data[:4]:
                raise DamagedError(_joined(begin + at - 16))
            at = block.find(signature, at + 1)


def _refuse_stray(path: str | os.PathLike[str], data: Data, extent: Extent, stop: int) -> None:
    """Say no to more than a few bytes behind the samples, unless they are zeros or a tag; a few are left out aloud."""
    at = stop + (data[stop : stop + 1] == b"\0" and data[stop + 1 : stop + 5] == data[:4])
    if data[at : at + 4] == data[:4]:
        raise DamagedError(_joined(at))
    stray = len(data) - stop
    if data[stop : stop + 3] in (b"TAG", b"ID3") or not data[stop:].strip(b"\0"):
        return
    if stray <= STRAY * extent.size:
        words = "%s: %d bytes behind the samples are of no known kind; they were left out"
        logger.warning(words, printable(path), stray)
        return
    raise DamagedError(
        f"the header counts {extent.size} bytes of samples, {stray} more follow that it does not explain: a recording "
        "that was stopped before its header was finished? `ffmpeg -ignore_length 1 -i IN OUT` writes a new one"
    )


def _joined(at: int) -> str:
    return f"a second recording begins at byte {at}: two files were joined as they are; split them, or join the samples"


def _is_chunk(data: Data, at: int, chunks: Chunks | None) -> bool:
    """Whether a chunk begins here, at the next multiple of the padding, or right away where a writer did not pad."""
    if chunks is None:
        return False
    for begin in (at + -at % chunks.pad, at):
        name, _, size = next(walk(data, begin, chunks), (b"", 0, -1))
        if name != data[: len(name)] and 0 <= size <= len(data) - begin and _is_name(name, chunks):
            return True
    return False


def _is_name(name: bytes, chunks: Chunks) -> bool:
    return len(name) == 16 or (name.isascii() and name.decode().isprintable())
