"""Tags before and behind the sound: ID3, APE, Lyrics3."""

from __future__ import annotations

from lobes.data.containers.extent import Data

ID3V1, APE_HEAD = 128, 32


def after_id3(data: Data, at: int = 0) -> int:
    """Offset behind the ID3v2 tags that begin at an offset.

    Example
    -------
    >>> after_id3(b"ID3" + bytes([3, 0, 0, 0, 0, 0, 2]) + b"xx" + b"fLaC")
    12
    """
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)  # a copy of the head may follow
    return at


def after_tag(data: Data, at: int) -> int:
    """Offset behind the tag of any kind that begins at an offset; the offset itself without one."""
    if data[at : at + 3] == b"TAG":
        return min(at + ID3V1, len(data))
    if data[at : at + 8] == b"APETAGEX":
        is_head = data[at + 23] & 0x20 if at + 24 <= len(data) else 0
        return at + APE_HEAD + (int.from_bytes(data[at + 12 : at + 16], "little") if is_head else 0)
    if data[at : at + 11] == b"LYRICSBEGIN":
        stops = [stop + 9 for mark in (b"LYRICS200", b"LYRICSEND") if (stop := data.find(mark, at)) >= 0]
        return min(stops, default=at)
    return after_id3(data, at)


def before_tags(data: Data) -> int:
    """Offset at which the tags at the end of a file begin."""
    end = len(data)
    if data[max(end - ID3V1, 0) : end][:3] == b"TAG":
        end -= ID3V1
    if data[max(end - APE_HEAD, 0) : end][:8] == b"APETAGEX":
        size, flags = (int.from_bytes(data[end - 20 + 8 * n : end - 16 + 8 * n], "little") for n in (0, 1))
        end -= size + (APE_HEAD if flags >> 31 else 0)
    return max(end, 0)
