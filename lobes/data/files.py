"""Files that are there whole or not at all: write next to the place, then rename; and what survives a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDING = ".partial"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path `<name>.partial` next to a file; it gets the file's name when the block ends without an exception.

    An old file stays as it is until then, and after an exception, which also removes the temporary file. The parent
    folder is made where it is missing. Only one process may write a path at a time.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/new/table.csv") as partial:
    ...         _ = partial.write_text("ID")
    ...     partial.name, Path(f"{folder}/new/table.csv").read_text()
    ('table.csv.partial', 'ID')
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ENDING)
    try:
        yield partial
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file next to its place and rename it, so that it is there whole or not at all; its folder is made.

    Its content is on the disk before it gets the name: a power cut leaves the old file or the new one, no empty one.
    Text is written as UTF-8 with its line ends as they are. File names that are not UTF-8, which Python holds as
    surrogates, become their own bytes again.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_whole(f"{folder}/new/page.html", "dzień")
    ...     Path(f"{folder}/new/page.html").read_bytes().decode()
    'dzień'
    """
    raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    with replacing(path) as partial:
        partial.write_bytes(raw)
        sync(partial)


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk and not only in memory.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_whole(f"{folder}/a", "1"); sync(f"{folder}/a"); sync(folder)
    """
    is_folder = os.path.isdir(path)
    if is_folder and os.name == "nt":
        return  # there, folders cannot be opened
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lacks_line_end(path: str | os.PathLike[str]) -> bool:
    """Whether the last line of a file lacks its end: a process was killed while it wrote. An empty file has none.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_whole(f"{folder}/a", "1"); write_whole(f"{folder}/b", "1\\n")
    ...     lacks_line_end(f"{folder}/a"), lacks_line_end(f"{folder}/b")
    (True, False)
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() not in (b"", b"\n")
