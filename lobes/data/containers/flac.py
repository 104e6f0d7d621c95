"""FLAC: the number of samples that its header promises, compared with the last frame of the file."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

from lobes.data.containers.extent import DamagedError, Data
from lobes.data.containers.tags import before_tags
from lobes.data.containers.view import View

MAGIC = b"fLaC"
FIRST_FRAME = 42  # where the first frame or the next block of metadata begins
LONGEST_FRAME = 1 << 18
SHORT = 1 << 16
TOTAL_BITS = 36
RATES = dict(
    zip(range(1, 12), (88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), strict=True)
)
PLACES = (0.13, 0.31, 0.74)  # shares of a file at which its frames' numbers are compared


class _Header(NamedTuple):
    block: int  # samples in a frame
    total: int  # samples per channel, 0 when not known
    window: int  # bytes in which a frame begins


def parts(path: str | os.PathLike[str], data: Data, begin: int) -> list[View] | None:
    """A header with the true number of samples where a program that streams left none; None where libsndfile reads it.

    The last frame is looked at, and a few before it: what is missing in the middle is found by decoding.

    Raises
    ------
    DamagedError
        If the last frame does not end where the header says, or nothing says where the stream ends.
    """
    header = _header(data, begin)
    stop = before_tags(data)
    ends = list(_ends(data, max(stop - header.window, begin + FIRST_FRAME), stop, header.block))
    if ends:
        _compare_rates(data, begin, ends[0][1])
    if any(end == header.total for end, _ in ends):
        if _falls(data, begin, stop, header):
            _refuse_second(data, begin)
        return None
    last = next((end for end, frame in ends if _crc16(data[frame:stop]) == 0), 0)
    if header.total and not last:
        return None  # cut, or bytes behind the last frame: the decoder says which
    if not last:
        raise DamagedError("truncated: the stream ends within a frame")
    if header.total:
        raise DamagedError(
            f"the header promises {header.total} samples, the last frame ends at {last}: cut, joined or unfinished"
        )
    field = int.from_bytes(data[begin + 18 : begin + 26], "big") | last
    return [View(path, [range(begin, begin + 18), field.to_bytes(8, "big"), range(begin + 26, stop)])]


def _compare_rates(data: Data, begin: int, frame: int) -> None:
    """The sample rate of the header and that of a frame, where the frame says it."""
    rate = int.from_bytes(data[begin + 18 : begin + 21], "big") >> 4
    other = RATES.get(data[frame + 2] & 15, rate)
    if other != rate:
        raise DamagedError(f"damaged: its header says {rate} Hz, its frames {other} Hz")


def _falls(data: Data, begin: int, stop: int, header: _Header) -> bool:
    """Whether the frames' numbers fall somewhere, as in streams of one length behind each other; by three of them."""
    if stop - begin < SHORT:
        return True  # looking for another stream takes less time
    numbers = []
    for share in PLACES:
        start = begin + int(share * (stop - begin))
        numbers += [end for end, _ in _ends(data, start, start + header.window, header.block)][:1]
    return numbers != sorted(numbers)


def _refuse_second(data: Data, begin: int) -> None:
    second = data.find(MAGIC + b"\0\0\0\x22", begin + FIRST_FRAME)
    if second >= 0:
        raise DamagedError(f"a second stream begins at byte {second}: two files were joined as they are; split them")


def _header(data: Data, begin: int) -> _Header:
    block = int.from_bytes(data[begin + 10 : begin + 12], "big")
    total = int.from_bytes(data[begin + 18 : begin + 26], "big") & ((1 << TOTAL_BITS) - 1)
    longest = int.from_bytes(data[begin + 15 : begin + 18], "big")  # 0 when not known
    return _Header(block, total, longest or LONGEST_FRAME)


def _ends(data: Data, start: int, stop: int, block: int) -> Iterator[tuple[int, int]]:
    """Number of samples up to the end of each frame in a range, with its offset, the last frame first."""
    window = data[start:stop]
    at = len(window)
    while (at := max(window.rfind(b"\xff\xf8", 0, at), window.rfind(b"\xff\xf9", 0, at))) >= 0:
        end = _end(window[at : at + 16], block)
        if end is not None:
            yield end, start + at


def _end(head: bytes, block: int) -> int | None:
    """Number of samples up to the end of the frame with this head; None when its checksum says that it is none."""
    if len(head) < 6:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # the number is coded as in UTF-8
    length = max(ones, 1)
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    code, rate = head[2] >> 4, head[2] & 15
    wide = {6: 1, 7: 2}.get(code, 0)
    at = 4 + length + wide
    stop = at + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if code == 0 or stop >= len(head) or _crc8(head[:stop]) != head[stop]:
        return None
    if wide:
        samples = int.from_bytes(head[at - wide : at], "big") + 1
    else:
        samples = 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)
    return (number if head[1] & 1 else number * block) + samples


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _table(0x07, 8)[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    table, crc = _table(0x8005, 16), 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc


@functools.cache
def _table(polynomial: int, bits: int) -> list[int]:
    table, top, mask = [], 1 << (bits - 1), (1 << bits) - 1
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return table
