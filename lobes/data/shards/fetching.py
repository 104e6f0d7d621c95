"""Shards from elsewhere: each is fetched once into a folder of this machine, and compared with its sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lobes.data.files import replacing, write_whole
from lobes.data.shards.index import INDEX, MANIFEST, parse_index, read_index
from lobes.errors import UserError

REMOTE = ("pipe:", "http://", "https://")
SOURCE = "source.txt"  # next to a fetched index: where its shards come from
BLOCK = 1 << 20
HERE = "{}"  # in a command: the file that is wanted, such as train/000003.tar


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether data lie elsewhere: behind http(s), or behind a command that writes a file to its output.

    Example
    -------
    >>> is_remote("https://example.org/mini"), is_remote("pipe:ssh store cat /mini/{}"), is_remote("/data/mini")
    (True, True, False)
    """
    return os.fspath(place).startswith(REMOTE)


def address(place: str, file: str) -> str:
    """The address of a file of a remote place.

    Example
    -------
    >>> address("https://example.org/mini/", "train/index.json"), address("pipe:ssh store cat /mini/{}", "a.tar")
    ('https://example.org/mini/train/index.json', 'pipe:ssh store cat /mini/a.tar')

    Raises
    ------
    UserError
        A command does not say where the file's name belongs.
    """
    if not place.startswith("pipe:"):
        return f"{place.rstrip('/')}/{file}"
    if HERE not in place:
        raise UserError(
            f"data_folder {place}: expected {HERE} where the name of a file belongs, such as train/000000.tar."
        )
    return place.replace(HERE, file)


def fetch_index(place: str, split: str, folder: Path) -> None:
    """Fetch the index and the manifest of a split into `folder/split`, where `fetch` will look for its shards."""
    target = folder / split
    raw = _content(address(place, f"{split}/{INDEX}"))
    index = parse_index(raw, address(place, f"{split}/{INDEX}"))
    manifest = _content(address(place, f"{split}/{MANIFEST}"))
    if hashlib.sha256(manifest).hexdigest() != index["manifest"]:
        raise UserError(f"{address(place, f'{split}/{MANIFEST}')}: is not the manifest of its index. Make it anew.")
    if (target / INDEX).is_file() and (target / INDEX).read_bytes() != raw:
        raise UserError(f"{target}: holds other shards than {place}. Remove it, or give another shard_folder.")
    for name, content in ((SOURCE, place.encode()), (MANIFEST, manifest), (INDEX, raw)):
        if not (target / name).is_file() or (target / name).read_bytes() != content:
            write_whole(target / name, content)


def fetch(shard: Path) -> None:
    """Fetch a shard that is not here, if its folder says from where; other processes of this machine wait for it.

    Raises
    ------
    UserError
        It cannot be fetched, or is not what the index says.
    """
    if shard.is_file() or not (shard.parent / SOURCE).is_file():
        return
    from filelock import FileLock

    with FileLock(f"{shard}.lock"):
        if shard.is_file():
            return
        place = (shard.parent / SOURCE).read_text(encoding="utf-8")
        wanted = {one["name"]: one for one in read_index(shard.parent)["shards"]}[shard.name]
        url = address(place, f"{shard.parent.name}/{shard.name}")
        with replacing(shard) as partial:
            found = _copy(url, partial)
            if found != wanted["sha256"]:
                raise UserError(f"{url}: is not the shard of its index (sha256 differs). Copy it there again.")


def _content(url: str) -> bytes:
    with _opened(url) as blocks:
        return b"".join(blocks)


def _copy(url: str, target: Path) -> str:
    """Write what an address gives into a file; returns its sha256."""
    digest = hashlib.sha256()
    with _opened(url) as blocks, open(target, "wb") as file:
        for block in blocks:
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


@contextmanager
def _opened(url: str) -> Iterator[Iterator[bytes]]:
    """What an address gives, in blocks; that its command has failed shows when it is read or closed."""
    try:
        from webdataset.gopen import gopen
    except ImportError as error:
        raise UserError(f'{url}: reading from there needs WebDataset. Run pip install -e ".[scale]"') from error
    with _in_one_line(url):
        stream = gopen(url, "rb")
    try:
        yield _blocks(url, stream)
    finally:
        with _in_one_line(url):
            stream.close()


def _blocks(url: str, stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _in_one_line(url):
            block = stream.read(BLOCK)
        if not block:
            return
        yield block


@contextmanager
def _in_one_line(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{url}: cannot be read. Its command ended with an error: {error}") from error
