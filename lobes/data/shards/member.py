"""A signal inside a shard, and the path that names it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

# .../000003.tar/00000012.s1.flac@1536+33222: the shard, the name in it, where its bytes begin, and how many there are
PATH = re.compile(
    r"(?P<shard>.*\d{6}\.tar)[/\\](?P<name>\d{8}\.\w+\.(?:flac|wav))@(?P<offset>\d+)\+(?P<size>\d+)", re.S
)


class Member(NamedTuple):
    """Where a signal lies."""

    shard: Path
    name: str
    offset: int
    size: int

    @property
    def path(self) -> str:
        """As `member_of` reads it.

        Example
        -------
        >>> Member(Path("train/000003.tar"), "00000012.s1.flac", 1536, 33222).path
        'train/000003.tar/00000012.s1.flac@1536+33222'
        """
        return f"{self.shard.as_posix()}/{self.name}@{self.offset}+{self.size}"


def member_of(path: str | os.PathLike[str]) -> Member | None:
    """What a path names inside a shard; None for the path of a file.

    Example
    -------
    >>> member_of("train/000003.tar/00000012.s1.flac@1536+33222").size, member_of("train/a.wav")
    (33222, None)
    """
    found = PATH.fullmatch(os.fsdecode(path))
    if found is None:
        return None
    return Member(Path(found["shard"]), found["name"], int(found["offset"]), int(found["size"]))


def file_of(path: str | os.PathLike[str]) -> Path:
    """The file on the disk that a path needs: the shard of a signal in one, else the path itself.

    Example
    -------
    >>> file_of("train/000003.tar/00000012.s1.flac@1536+33222").name, file_of("train/a.wav").name
    ('000003.tar', 'a.wav')
    """
    member = member_of(path)
    return Path(path) if member is None else member.shard
