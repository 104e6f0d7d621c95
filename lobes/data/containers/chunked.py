"""Other containers made of chunks: AIFF, 8SVX and CAF."""

from __future__ import annotations

import struct

from lobes.data.containers.extent import CAF, RIFX, Data, Extent, walk


def form(data: Data) -> Extent | None:
    """Samples of an AIFF, AIFC, 8SVX or 16SV file."""
    for name, start, size in walk(data, 12, RIFX):
        if name == b"BODY":
            return Extent(start, size, RIFX, greedy=False)
        if name == b"SSND" and start + 8 <= len(data):
            skip = 8 + struct.unpack_from(">I", data, start)[0]  # offset and block size stand before the samples
            return Extent(start + skip, size - skip if size >= skip else 0, RIFX, start - 4, ">I", skip, greedy=False)
    return None


def caf(data: Data) -> Extent | None:
    """Samples of a Core Audio file; a size of -1 is allowed there and means "to the end"."""
    for name, start, size in walk(data, 8, CAF):
        if name == b"data":  # a number of edits stands before the samples
            return Extent(start + 4, size - 4 if size >= 4 else size, CAF, start - 8, ">q", 4, greedy=False)
    return None
