"""Speakers and mixtures that are in two splits."""

from __future__ import annotations

import filecmp
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from lobes.data.checks import in_threads
from lobes.data.manifest import shorten
from lobes.data.shards.member import file_of, member_of
from lobes.doctor.finding import FAIL, OK, WARN, Finding

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
BLOCK = 4096  # bytes from the middle of a file that must be equal before two files are compared
# How the names of files in well-known sets hold their speakers, where a manifest has no column of them.
IN_NAMES = (
    re.compile(r"(?:^|_)(\d+)-\d+-\d+(?=_|$)"),  # LibriSpeech, LibriMix
    re.compile(r"(?:^|_)(\d\d[0-9a-z])[a-z]\w{4}(?=_|$)"),  # WSJ0
    re.compile(r"^(p\d{3})_"),  # VCTK, VoiceBank
)


def speakers_of(row: Mapping[str, Any]) -> set[str]:
    """The speakers of a row, by its columns `speaker...`, or else by its ID in the form of a well-known set.

    Example
    -------
    >>> sorted(speakers_of({"ID": "103-1240-0003_1235-135887-0017"})), speakers_of({"ID": "a", "speaker1": "anna"})
    (['103', '1235'], {'anna'})
    """
    columns = [column for column in row if column.startswith("speaker")]
    if columns:
        return {row[column] for column in columns} - {""}
    return next((set(found) for form in IN_NAMES if (found := form.findall(row["ID"]))), set())


def shared_speakers(rows: Rows) -> Iterator[Finding]:
    """Speakers in two splits: a fault for the test, a warning for validation, a note in PolSESS, which has them."""
    speakers = {split: set().union(*map(speakers_of, found)) for split, found in rows.items()}
    if not all(speakers.values()):
        yield Finding(OK, "speakers", "not checked: no columns speaker1, speaker2 ..., and the IDs name none")
        return
    shared = False
    for split, other in combinations(speakers, 2):
        both = sorted(speakers[split] & speakers[other])
        if both:
            shared = True
            text = f"{len(both)} of {len(speakers[other])} speakers of {other} are in {split}, too: {shorten(both)}."
            yield _judge(text, rows, {split, other})
    if not shared:
        counts = ", ".join(f"{split} {len(found)}" for split, found in speakers.items())
        yield Finding(OK, "speakers", f"each in one split ({counts})")


def _judge(text: str, rows: Rows, splits: set[str]) -> Finding:
    if any("sceneClass" in row for found in rows.values() for row in found[:1]):
        return Finding(OK, "speakers", f"note: {text} The published corpus shares them.")
    if splits == {"train", "test"} or not splits <= {"train", "valid", "test"}:
        return Finding(FAIL, "speakers", f"{text} A score on speakers heard in training says little about others.")
    return Finding(WARN, "speakers", f"{text} WSJ0-mix is made so; elsewhere, make the splits anew.")


def shared_audio(rows: Rows) -> Iterator[Finding]:
    """Mixtures whose files are equal, byte by byte, in two splits."""
    prints: dict[str, dict[tuple[int, int], str]] = {}
    for split, found in rows.items():
        files = [row["mix_wav"] for row in found]
        prints[split] = dict(zip(in_threads(fingerprint, files, "comparing splits"), files, strict=True))
    shared = []
    for split, other in combinations(prints, 2):
        for key in prints[split].keys() & prints[other].keys():
            first, second = prints[split][key], prints[other][key]
            if first == second or are_equal(first, second):
                shared.append(f"{first} ({split}) and {second} ({other})")
    if shared:
        text = f"{len(shared)} mixtures are in two of them: {shorten(sorted(shared))}. Make the splits anew."
        yield Finding(FAIL, "splits", text)
    elif len(prints) > 1:
        yield Finding(OK, "splits", "no mixture is in two of them")


def fingerprint(file: str) -> tuple[int, int]:
    """The size of a file, or of a signal in a shard, and a sum over some bytes from its middle.

    Example
    -------
    >>> fingerprint("/dev/null")
    (0, 0)
    """
    member = member_of(file)
    begin, size = (0, os.path.getsize(file)) if member is None else (member.offset, member.size)
    with open(file_of(file), "rb") as opened:
        opened.seek(begin + max(0, size - BLOCK) // 2)
        return size, zlib.crc32(opened.read(min(BLOCK, size)))


def are_equal(first: str, second: str) -> bool:
    """Whether two files, or signals in shards, are equal byte by byte."""
    if member_of(first) is None and member_of(second) is None:
        return filecmp.cmp(first, second, shallow=False)
    return _content(first) == _content(second)


def _content(file: str) -> bytes:
    member = member_of(file)
    with open(file_of(file), "rb") as opened:
        opened.seek(0 if member is None else member.offset)
        return opened.read(-1 if member is None else member.size)
