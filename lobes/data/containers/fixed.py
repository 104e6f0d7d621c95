"""Containers with one header in front: AU, NIST, VOC, AVR, MAT, MPC2K, WVE, SDS.

PVF, PAF, IRCAM and XI as libsndfile writes it say nowhere how long they are: a cut in them cannot be seen, only a
second header among the samples.
"""

from __future__ import annotations

import re
import struct

from lobes.data.containers.extent import DamagedError, Data, Extent

TEXT = bytes([0, 9, 10, 13, *range(32, 256)])
AU_HEADER = 24  # a note follows
AU_WIDTH = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # bytes of a sample by its encoding
MAT4_WIDTH = (8, 4, 4, 2, 2, 1)  # bytes of a number by the tens digit of its type
AVR_HEADER = 128
SDS_HEADER, SDS_BLOCK = 21, 127


def au(data: Data) -> Extent:
    """Sun and NeXT; a size of all ones is allowed there and means "to the end"."""
    order = ">" if data[:4] == b".snd" else "<"
    start, size, encoding, _, channels = struct.unpack_from(order + "5I", data, 4)
    if data[AU_HEADER:start].translate(None, TEXT):
        raise DamagedError(f"damaged: its header is said to take {start} bytes, in which there is no text alone")
    frame = channels * AU_WIDTH.get(encoding, 0)
    return Extent(start, size, None, 8, order + "I", greedy=False, frame=frame)


def nist(data: Data) -> Extent | None:
    """SPHERE: `sample_count` is per channel."""
    if not data[8:16].strip().isdigit():
        raise DamagedError("damaged: its header does not say how long it is")
    start = int(data[8:16])
    count, channels, width = (
        re.search(rb"^%b -i (\d+)" % name, data[16:start], re.MULTILINE)
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    )
    if b"shorten" in data[16:start]:  # libsndfile cannot unpack it
        return None
    if not (count and channels):
        raise DamagedError("damaged: its header has no sample_count or no channel_count")
    return Extent(start, int(count[1]) * int(channels[1]) * (int(width[1]) if width else 1))


def voc(data: Data) -> Extent | None:
    """Creative Voice: one block of sound, then the end; libsndfile reads no more than one."""
    at = struct.unpack_from("<H", data, 20)[0]
    while at + 4 <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "little")
        if kind in (1, 9):
            skip = 2 if kind == 1 else 12
            frame = data[at + 9] * (data[at + 8] // 8) if kind == 9 else 1  # channels and bits
            stop = at + 4 + size
            if data[stop : stop + 1] not in (b"", b"\0"):
                raise DamagedError("it holds several blocks of sound, which libsndfile cannot join")
            ends_here = len(data) <= stop + 1  # libsndfile takes what follows for samples
            return Extent(at + 4 + skip, size - skip, greedy=not ends_here, frame=frame)
        at += 4 + size
    return None


def avr(data: Data) -> Extent:
    """Audio Visual Research: the size is in frames."""
    stereo, bits = struct.unpack_from(">HH", data, 12)
    size = struct.unpack_from(">I", data, 26)[0] * (bits // 8) * (2 if stereo else 1)
    if size == 0 and len(data) > AVR_HEADER:
        raise DamagedError("damaged: its header counts no samples")
    return Extent(AVR_HEADER, size)


def mat4(data: Data) -> Extent:
    """Matlab 4: the matrix `wavedata`."""
    at = 0
    while at + 20 <= len(data):
        order = "<" if data[at : at + 2] != b"\0\0" or data[at : at + 4] == b"\0\0\0\0" else ">"
        kind, rows, columns, _, letters = struct.unpack_from(order + "5I", data, at)
        start, size = at + 20 + letters, rows * columns * MAT4_WIDTH[min(kind // 10 % 10, 5)]
        if data[at + 20 : start].rstrip(b"\0") == b"wavedata":
            return Extent(start, size)
        at = start + size
    raise DamagedError("damaged: there is no matrix wavedata in it, or it is cut")


def mat5(data: Data) -> Extent | None:
    """Matlab 5: the numbers behind the name `wavedata`."""
    order = "<" if data[126:128] == b"IM" else ">"
    at = data.find(b"wavedata") + 8
    if at == 7:
        return None
    size = struct.unpack_from(order + "I", data, at + 4)[0]
    channels, frames = struct.unpack_from(order + "II", data, at - 24)
    if size not in [channels * frames * width for width in (1, 2, 4, 8)]:
        raise DamagedError(f"damaged: its header counts {channels} x {frames} numbers, and {size} bytes")
    return Extent(at + 8, size)


def mpc2k(data: Data) -> Extent:
    """Akai MPC 2000: 16 bit."""
    return Extent(42, struct.unpack_from("<I", data, 30)[0] * 2 * (2 if data[21] else 1))


def wve(data: Data) -> Extent:
    """Psion Series 3: A-law."""
    return Extent(32, struct.unpack_from(">I", data, 18)[0])


def sds(data: Data) -> Extent:
    """MIDI Sample Dump: blocks of 120 bytes of 7 bits."""
    bits, frames = data[6], data[10] | data[11] << 7 | data[12] << 14
    per_block = 120 // -(-bits // 7)
    # the last byte of the last block, its end mark, is missing in some files
    return Extent(SDS_HEADER, -(-frames // per_block) * SDS_BLOCK - 1)
