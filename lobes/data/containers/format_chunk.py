"""The chunk "fmt " of WAV and Wave64: what it says twice must agree, else the samples are not what it says."""

from __future__ import annotations

import logging
import os
import struct
from typing import NamedTuple

from lobes.data.containers.extent import DamagedError
from lobes.data.containers.view import printable

PLAIN = (1, 3, 6, 7)  # whole numbers, floating point, A-law, mu-law: each sample stands for itself
CODED = (0x02, 0x11, 0x14, 0x31, 0x40, 0x64)  # of 2 to 5 bits: ADPCM, G.721, G.723, G.726; GSM has none
EXTENSIBLE = 0xFFFE

logger = logging.getLogger(__name__)


class _Format(NamedTuple):
    tag: int
    channels: int
    rate: int
    per_second: int  # bytes
    block: int  # bytes of a frame
    bits: int

    @property
    def frame(self) -> int:
        """Bytes of a frame by channels and bits; as Cool Edit wrote 24 bits, in four bytes each."""
        wide = self.bits == 24 and self.block == 4 * self.channels
        return self.block if wide else self.channels * -(-self.bits // 8)


def check_format(path: str | os.PathLike[str], form: bytes, order: str = "<") -> None:
    """Compare what a format says of the size of frames, and warn of two sample rates.

    Raises
    ------
    DamagedError
        If channels and bits do not give the size of a frame that the other numbers agree on.
    """
    found = _read(form, order)
    if found.tag in CODED and found.bits >= 8:
        raise DamagedError(f"damaged: its header says {found.bits} bits in a coding that has fewer ({found.tag:#x})")
    if found.tag not in PLAIN or found.block == found.per_second == 0:  # some recorders leave both
        return
    if found.block != found.frame and found.per_second != found.rate * found.frame:
        raise DamagedError(
            f"damaged: its header says {found.channels} channels of {found.bits} bits and {found.block} bytes a frame, "
            "which cannot be"
        )
    if found.per_second not in (0, found.rate * found.block, found.rate * found.frame):
        words = "%s: the header says %d Hz, and %d bytes a second, which are %g Hz; it was read at %d Hz"
        other = found.per_second / found.frame if found.frame else 0
        logger.warning(words, printable(path), found.rate, found.per_second, other, found.rate)


def frame_of(form: bytes, order: str = "<") -> int:
    """Bytes of a frame, 0 where the samples are coded.

    Example
    -------
    >>> frame_of(struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16))
    4
    """
    found = _read(form, order)
    return found.frame if found.tag in PLAIN else 0


def is_plain(form: bytes, size: int) -> bool:
    """Whether nothing about a format needs a second look, for so many bytes of samples."""
    found = _read(form, "<")
    if found.tag not in PLAIN:
        return found.tag not in CODED or found.bits < 8
    return found.frame == found.block > 0 == size % found.block and found.per_second == found.rate * found.block


def _read(form: bytes, order: str) -> _Format:
    found = _Format(*struct.unpack_from(order + "HHIIHH", form))
    if found.tag == EXTENSIBLE and len(form) >= 26:
        return found._replace(tag=struct.unpack_from(order + "H", form, 24)[0])
    return found
