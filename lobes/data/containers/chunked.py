"""Other containers made of chunks: AIFF, 8SVX and CAF."""

from __future__ import annotations

import struct

from lobes.data.containers.extent import CAF, RIFX, DamagedError, Data, Extent, walk

PLAIN = (b"NONE", b"sowt", b"twos", b"fl32", b"FL32", b"fl64", b"FL64")  # of AIFC: each sample stands for itself


def form(data: Data) -> Extent | None:
    """Samples of an AIFF, AIFC, 8SVX or 16SV file."""
    frame = frames = 0
    for name, start, size in walk(data, 12, RIFX):
        if name == b"BODY":
            return Extent(start, size, RIFX)
        if name == b"COMM" and (data[8:12] == b"AIFF" or data[start + 18 : start + 22] in PLAIN):
            channels, frames, bits = struct.unpack_from(">HIH", data, start)
            frame = channels * -(-bits // 8)
        if name == b"SSND" and start + 8 <= len(data):
            skip = 8 + struct.unpack_from(">I", data, start)[0]  # offset and block size stand before the samples
            size = size - skip if size >= skip else 0
            return Extent(start + skip, size, RIFX, start - 4, ">I", skip, greedy=False, frame=frame, frames=frames)
    return None


def caf(data: Data) -> Extent | None:
    """Samples of a Core Audio file; a size of -1 is allowed there and means "to the end"."""
    frame = 0
    for name, start, size in walk(data, 8, CAF):
        if name == b"desc" and data[start + 8 : start + 12] == b"lpcm":
            frame, _, channels, bits = struct.unpack_from(">4I", data, start + 16)
            if frame != channels * -(-bits // 8):
                raise DamagedError(
                    f"damaged: its header says {channels} channels of {bits} bits, {frame} bytes a frame"
                )
        if name == b"data":  # a number of edits stands before the samples
            size = size - 4 if size >= 4 else size
            return Extent(start + 4, size, CAF, start - 8, ">q", 4, greedy=False, frame=frame)
    return None
