"""Ogg (Vorbis, Opus, FLAC): every page is there and whole; streams one after another are read one after another."""

from __future__ import annotations

import logging
import os
import zlib
from typing import NamedTuple

from lobes.data.containers.extent import DamagedError, Data
from lobes.data.containers.view import View

logger = logging.getLogger(__name__)

MAGIC = b"OggS"
HEAD = 27
CONTINUED, FIRST, LAST = 1, 2, 4
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    start: int
    stop: int
    flags: int
    granule: int  # samples up to here; 0 in the pages of headers
    serial: int
    number: int


def parts(path: str | os.PathLike[str], data: Data, begin: int) -> list[View] | None:
    """One file per stream where several follow each other, which libsndfile reads the first of; None for one stream.

    A stream without its last page was stopped before its end, or cut exactly between two pages: the log says so.

    Raises
    ------
    DamagedError
        If a page is cut, missing or damaged.
    """
    pages = _pages(data, begin)
    links = [page.start for page, before in zip(pages[1:], pages, strict=False) if _opens(page, before)]
    stops = [*links, pages[-1].stop]
    if not pages[-1].flags & LAST:
        logger.warning("%s: the stream has no last page; what is there was read", os.fspath(path))
    if not links and begin == 0:
        return None
    return [View(path, [range(start, stop)]) for start, stop in zip([begin, *links], stops, strict=True)]


def _opens(page: _Page, before: _Page) -> bool:
    """Whether a page begins a new stream in time, not one more of the same time (a picture next to the sound)."""
    return bool(page.flags & FIRST) and not before.flags & FIRST


def _pages(data: Data, begin: int) -> list[_Page]:
    """All pages, up to the end of the file or to what follows the last page of a stream."""
    pages: list[_Page] = []
    latest: dict[int, _Page] = {}
    at = begin
    while at < len(data):
        if data[at : at + 4] != MAGIC[: len(data) - at]:
            if pages and pages[-1].flags & LAST:
                break
            raise DamagedError(f"damaged: expected a page at byte {at}")
        page = _page(data, at)
        before = latest.get(page.serial)
        # the first page behind the headers may have any number: recordings of a running broadcast
        if before and before.granule > 0 and not page.flags & FIRST and page.number != before.number + 1:
            raise DamagedError(f"damaged: page {before.number + 1} is missing at byte {at}")
        latest[page.serial] = page
        pages.append(page)
        at = page.stop
    return pages


def _page(data: Data, at: int) -> _Page:
    head = data[at : at + HEAD]
    segments = head[26] if len(head) == HEAD else 0
    stop = at + HEAD + segments + sum(data[at + HEAD : at + HEAD + segments])
    if len(head) < HEAD or at + HEAD + segments > len(data) or stop > len(data):
        raise DamagedError(f"truncated: the page at byte {at} needs {max(stop - len(data), 1)} bytes more")
    if checksum(head[:22] + bytes(4) + data[at + 26 : stop]) != int.from_bytes(head[22:26], "little"):
        raise DamagedError(f"damaged: the page at byte {at} has a wrong checksum")
    granule = int.from_bytes(head[6:14], "little", signed=True)
    return _Page(at, stop, head[5], granule, *(int.from_bytes(head[i : i + 4], "little") for i in (14, 18)))


def checksum(page: bytes) -> int:
    """CRC-32 of a page whose own checksum is zero: the bits in the other order than zlib's, from zero."""
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
