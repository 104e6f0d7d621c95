"""A file as libsndfile should see it: ranges of the one on disk, and bytes in front or between that are not in it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from itertools import accumulate

Piece = bytes | range


def printable(path: str | os.PathLike[str]) -> str:
    """Return the user's path in a form that can be printed even if it is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class View(io.RawIOBase):
    """Read-only file made of pieces, each either bytes or a range of offsets in a file on disk.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with open(f"{folder}/a", "wb") as file:
    ...         _ = file.write(b"0123456789")
    ...     with View(f"{folder}/a", [b"ab", range(5, 8)]) as view:
    ...         view.read()
    b'ab567'
    """

    def __init__(self, path: str | os.PathLike[str], pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115 - closed with the view
        self._pieces = [piece for piece in pieces if len(piece)]
        self._ends = list(accumulate(map(len, self._pieces)))
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as in any file; a position behind the end is allowed, and one before the start changes nothing."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ends[-1] if self._ends else 0}[whence]
        self._at = origin + offset if origin + offset >= 0 else self._at
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def, override] # any writable buffer
        """Fill the buffer from as many pieces as it takes; fewer bytes only at the end."""
        target = memoryview(buffer).cast("B")
        done = 0
        for piece, end in zip(self._pieces, self._ends, strict=True):
            if done < len(target) and self._at < end:
                got = self._from(piece, self._at - (end - len(piece)), target[done:])
                done, self._at = done + got, self._at + got
        return done

    def close(self) -> None:
        """Close the file on disk too."""
        self._file.close()
        super().close()

    def _from(self, piece: Piece, skip: int, target: memoryview) -> int:
        """Copy from a piece without its first bytes; return how many bytes."""
        if isinstance(piece, bytes):
            part = piece[skip : skip + len(target)]
            target[: len(part)] = part
            return len(part)
        self._file.seek(piece.start + skip)
        return self._file.readinto(target[: len(piece) - skip]) or 0
