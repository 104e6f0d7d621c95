"""The encodings that a text file may be in, and what is no text at all."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator

from lobes.errors import UserError

MARKS = (  # UTF-32 before UTF-16: its mark begins with the other's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
RAW = "bytes"  # names of files that are in no encoding, as Python holds them: surrogates
LEGACY = ("cp1250", "cp1252", "iso8859_2", "cp852", "mac_latin2", "mac_roman")  # of Central and Western Europe
NOT_TEXT = (
    (b"PK\x03\x04", "is a spreadsheet or another ZIP archive, not text: save the table as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel file, not text: save the table as CSV (UTF-8)"),
    (b"\x1f\x8b", "is compressed (gzip): unpack it"),
    (b"RIFF", "is a sound file, expected a table"),
    (b"{", "looks like JSON, expected a table: write it as CSV"),
    (b"[", "looks like JSON, expected a table: write it as CSV"),
)


def readings(path: str | os.PathLike[str], raw: bytes) -> list[tuple[str, str]]:
    """Return what a file's bytes may mean: (encoding, text), the likeliest first. Unicode means one thing.

    Bytes that are not Unicode may be in several encodings, which only the names of files can distinguish: six letters
    of Polish are six others in Western Europe.

    Raises
    ------
    UserError
        No text: a spreadsheet, an archive, JSON, or bytes that no encoding explains.

    Example
    -------
    >>> readings("t.csv", "zażółć".encode("utf-16"))
    [('utf-16', 'zażółć')]
    >>> dict(readings("t.csv", "zażółć".encode("cp1250")))["cp1250"]
    'zażółć'
    """
    for start, what in NOT_TEXT:
        if raw.startswith(start):
            raise UserError(f"{path}: {what}.")
    found = []
    for encoding in _unicode(raw) or _legacy(raw):
        try:
            text = raw.decode("utf-8", "surrogateescape") if encoding == RAW else raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            found.append((encoding, text))
    if not found:
        raise UserError(f"{path}: cannot be read as text. Save it as CSV in UTF-8.")
    return found


def _unicode(raw: bytes) -> list[str]:
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            return [encoding]
    for place, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(raw) > 3 and raw[place::2].count(0) > len(raw) // 4:  # Latin letters in UTF-16, without a mark
            return [encoding]
    try:
        raw.decode("utf-8")
        return ["utf-8"]
    except UnicodeDecodeError:
        return []


def _legacy(raw: bytes) -> Iterator[str]:
    from charset_normalizer import from_bytes

    likely = [match.encoding for match in from_bytes(raw, cp_isolation=list(LEGACY))]
    yield from dict.fromkeys([*likely, *LEGACY, RAW])
