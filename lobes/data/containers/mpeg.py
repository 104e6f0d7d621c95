"""MP3 and its kin: frames are counted by their heads, since libsndfile reads as many as an index or a guess says.

Without an index the guess is the file's size over the size of the first frame: too few where the bit rate varies, too
many where a picture stands in a tag. Such a file is given an index. Where streams were joined, each is read for itself.
"""

from __future__ import annotations

import functools
import logging
import os
import struct
from typing import NamedTuple

from lobes.data.containers.extent import DamagedError, Data
from lobes.data.containers.tags import after_id3, after_tag, before_tags
from lobes.data.containers.view import Piece, View, printable

logger = logging.getLogger(__name__)

RATES = (44100, 48000, 32000)
# kbit/s by four bits of a frame's head, for layers I, II and III of version 1, I and II-III of versions 2 and 2.5
KBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLES = (1152, 576)  # in a frame of layer III, version 1 and later ones
DECODER_DELAY = 529
VBRI = 36  # offset of the index of Fraunhofer's encoder in its frame
EXACT = (b"LAME", b"Lavf", b"Lavc")  # these are known to count without the frame of the index itself
SEARCHED = 1 << 16


class Frame(NamedTuple):
    """What the head of a frame says."""

    size: int  # bytes, head included
    version: int  # 1, 2, or 3 for 2.5
    layer: int
    rate: int
    mono: bool
    checked: bool  # a checksum follows the head

    @property
    def index_at(self) -> int:
        """Offset of an index of LAME's kind."""
        return 4 + ((17, 32) if self.version == 1 else (9, 17))[not self.mono]


class _Stream(NamedTuple):
    first: Frame
    info: range  # the frame that holds the index; empty, where the frames begin, without one
    promised: int | None  # frames by the index
    frames: int  # frames there
    stop: int


def parts(path: str | os.PathLike[str], data: Data, begin: int, stop: int) -> list[View] | None:
    """One file with a right index per stream; None where libsndfile reads the file itself right.

    A file that was cut between two frames and has no index shows no sign of it.

    Raises
    ------
    DamagedError
        Fewer frames than an index promises, a cut frame, or bytes between frames that are no tag.
    """
    streams = []
    at = _first_frame(data, begin, stop)
    _look_at_skipped(path, data[begin:at] if at < stop else b"")
    while at < stop:
        streams.append(_stream(data, at, stop))
        at = _next_frame(path, data, streams[-1].stop, stop)
    if not streams:
        return None
    untouched = (begin, stop) == (after_id3(data), len(data)) and begin == streams[0].info.start
    untouched = untouched and streams[0].stop >= before_tags(data)
    if untouched and streams[0].promised == streams[0].frames and _own_index(data, streams[0]):
        return None
    return [View(path, _pieces(data, stream)) for stream in streams]


@functools.cache
def _frame(key: int) -> Frame | None:
    sync, version, layer = key >> 21, (key >> 19) & 3, 4 - (key >> 17 & 3)
    bits, rate = key >> 12 & 15, key >> 10 & 3
    if sync != 7 or version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    version = {3: 1, 2: 2, 0: 3}[version]
    hertz = RATES[rate] >> (version - 1)
    kbits = KBITS[min(version, 2), layer if version == 1 else min(layer, 2)][bits]
    if layer == 1:
        size = (12000 * kbits // hertz + (key >> 9 & 1)) * 4
    else:
        size = (72000 if version > 1 and layer == 3 else 144000) * kbits // hertz + (key >> 9 & 1)
    return Frame(size, version, layer, hertz, (key >> 6 & 3) == 3, not key >> 16 & 1)


def frame_at(data: Data, at: int) -> Frame | None:
    """Read the head of a frame; None where there is none, or one of a bit rate that the head does not give.

    Example
    -------
    >>> frame_at(bytes([0xFF, 0xFB, 0x90, 0xC4]), 0)
    Frame(size=417, version=1, layer=3, rate=44100, mono=True, checked=False)
    """
    head = data[at : at + 4]
    return _frame(head[1] << 16 | head[2] << 8 | head[3] & 0xC0) if len(head) == 4 and head[0] == 0xFF else None


def _stream(data: Data, at: int, stop: int) -> _Stream:
    """Walk from frame to frame up to the index of the next stream, a change of kind, or what is no whole frame."""
    first = frame_at(data, at)
    assert first is not None
    promised = _promised(data, at, first)
    index = range(at, at if promised is None else at + first.size)
    at, count = index.stop, 0
    while at < stop and count != (promised or -1) and (frame := frame_at(data, at)) and frame[1:] == first[1:]:
        if at + frame.size > stop or (count and _promised(data, at, frame) is not None):
            break
        at, count = at + frame.size, count + 1
    if promised and count < promised - (not any(name in data[index.start : index.stop] for name in EXACT)):
        raise DamagedError(f"truncated or damaged: its index promises {promised} frames, it holds {count} in a row")
    return _Stream(first, index, promised, count, at)


def _promised(data: Data, at: int, frame: Frame) -> int | None:
    """The number of frames by an index, 0 in an index without it; None without an index."""
    if frame.layer == 3 and _has_index(data, at, frame):
        flags, frames = struct.unpack_from(">II", data, at + frame.index_at + 4)
        return frames if flags & 1 else 0
    if frame.layer == 3 and data[at + VBRI : at + VBRI + 4] == b"VBRI":
        return int(struct.unpack_from(">I", data, at + VBRI + 14)[0])
    return None


def _has_index(data: Data, at: int, frame: Frame) -> bool:
    return data[at + frame.index_at : at + frame.index_at + 4] in (b"Xing", b"Info")


def _first_frame(data: Data, begin: int, stop: int) -> int:
    """Offset of the first frame that another one, a tag or the end follows."""
    for at in range(begin, min(stop, begin + SEARCHED)):
        frame = frame_at(data, at)
        if frame is not None:
            behind = at + frame.size
            following = frame_at(data, behind)
            if (following and following[1:] == frame[1:]) or behind == stop or after_tag(data, behind) > behind:
                return at
    return stop


def _look_at_skipped(path: str | os.PathLike[str], skipped: bytes) -> None:
    """Bytes before the first frame: nothing, zeros, or the end of a frame of a stream that was recorded from air."""
    if any(name in skipped for name in (b"Xing", b"Info", b"VBRI")):
        raise DamagedError("damaged: the frame with its index, or the one behind it, has a wrong head")
    if skipped.strip(b"\0"):
        logger.warning("%s: %d bytes before the first frame were left out", printable(path), len(skipped))


def _next_frame(path: str | os.PathLike[str], data: Data, at: int, stop: int) -> int:
    """Offset of the next stream, behind tags and zeros; the end where no frame follows."""
    while at < stop and frame_at(data, at) is None:
        behind = after_tag(data, at)
        if behind == at and data[at] == 0:
            behind = at + 1
        if behind == at:
            following = _first_frame(data, at, stop)
            if following < stop:
                raise DamagedError(f"damaged: {following - at} bytes from byte {at} on are no sound")
            logger.warning("%s: %d bytes behind the last frame were left out", printable(path), stop - at)
            return stop
        at = behind
    frame = frame_at(data, at)
    if frame and at + frame.size > stop:
        raise DamagedError(f"truncated: the last frame needs {at + frame.size - stop} bytes more")
    return min(at, stop)


def _pieces(data: Data, stream: _Stream) -> list[Piece]:
    """The frames of a stream behind an index with their number: its own, its own corrected, or a new one."""
    frames = range(stream.info.stop, stream.stop)
    if stream.promised and _own_index(data, stream):
        at = stream.first.index_at + 8
        old = data[stream.info.start : stream.info.stop]
        return [old[:at] + struct.pack(">I", stream.frames) + old[at + 4 :], frames]
    return [_new_index(data[stream.info.start : stream.info.start + 4], stream.frames), frames]


def _own_index(data: Data, stream: _Stream) -> bool:
    return len(stream.info) > 0 and _has_index(data, stream.info.start, stream.first)


def _new_index(head: bytes, frames: int) -> bytes:
    """An index with the number of frames, and a frame without sound; layers I and II know none, and have one bit rate.

    The decoder skips the `DECODER_DELAY` samples of its own delay in a file with an index. The silent frame and a delay
    that fills it up keep all samples of the frames that were there, as without an index.
    """
    large, small = (bytes([head[0], head[1] | 1, head[2] & 0x0C | bits << 4, head[3]]) for bits in (9, 1))
    frame, silence = frame_at(large, 0), frame_at(small, 0)
    if frame is None or silence is None or frame.layer != 3:
        return b""
    delay = SAMPLES[frame.version > 1] - DECODER_DELAY
    body = large.ljust(frame.index_at, b"\0") + b"Info" + struct.pack(">II", 1, frames + 1) + b"LAME".ljust(21, b"\0")
    body += (delay << 12 | DECODER_DELAY).to_bytes(3, "big")  # 12 bits each: samples before and behind the sound
    return body.ljust(frame.size, b"\0") + small.ljust(silence.size, b"\0")
