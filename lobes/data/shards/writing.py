"""Write the examples of a manifest into shards: tars of a bounded size, in a seeded order, with an index."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lobes.data.audio import read
from lobes.data.files import replacing, sync, write_whole
from lobes.data.manifest import DATA_ROOT, read_manifest, write_manifest
from lobes.data.shards.encoding import encoded
from lobes.data.shards.index import INDEX, MANIFEST, SUMS, VERSION, read_index
from lobes.errors import UserError

Row = Mapping[str, Any]
DONE = ".done.json"  # ends the name of what is known of a finished shard, until the index is written
NEEDED = ("ID", "duration", "s1_wav")


def write_shards(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    seed: int = 0,
    megabytes: float = 1000.0,
    progress: bool = True,
) -> Path:
    """Write `out/NAME/000000.tar` ..., where NAME is that of the manifest; a call that was ended goes on.

    An example is a `json` with the row's other columns and a FLAC file for each `*_wav` column, or a WAV file of 32-bit
    floating point where FLAC would lose something. Samples come back as `lobes.data.audio.read` gives those of the
    original, bit for bit.

    Arguments
    ---------
    manifest : str or PathLike
        A CSV of `lobes.data.manifest`, such as the `train.csv` of a run.
    out : str or PathLike
        Gets a folder for each manifest.
    data_root : str or PathLike, optional
        What `$data_root` in the manifest stands for; its own folder if not given.
    seed : int
        Of the order of the examples.
    megabytes : float
        Most of a shard, in millions of bytes; one example may be larger.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Path
        The folder: the shards, `index.json`, `manifest.csv` and `SHA256SUMS`.

    Raises
    ------
    UserError
        The manifest or a file cannot be read, or the folder holds shards of another call.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data.audio import write
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.wav", np.full(800, 0.25), 8000)
    ...     write_manifest(f"{folder}/train.csv", [{"ID": "a", "duration": 0.1, "s1_wav": f"{folder}/a.wav"}])
    ...     made = write_shards(f"{folder}/train.csv", f"{folder}/shards", progress=False)
    ...     sorted(path.name for path in made.iterdir())
    ['000000.tar', 'SHA256SUMS', 'index.json', 'manifest.csv']
    """
    root = Path(manifest).absolute().parent if data_root is None else data_root
    rows = sorted(read_manifest(manifest, root, needed=NEEDED), key=lambda row: str(row["ID"]))
    folder = Path(out, Path(manifest).stem)
    job = {"version": VERSION, "source": file_sum(Path(manifest)), "seed": seed, "megabytes": megabytes}
    if (folder / INDEX).is_file():
        refuse_another(folder, job, read_index(folder))
        return folder
    order = np.random.default_rng(seed).permutation(len(rows))
    with tqdm(total=len(rows), desc=folder.name, unit="example", disable=None if progress else True) as bar:
        shards = list(_shards(folder, [rows[n] for n in order], job, bar))
    _finish(folder, job, rows, shards)
    return folder


def refuse_another(folder: Path, job: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise a UserError where a folder holds shards of another manifest, seed or size."""
    other = [name for name, value in job.items() if found.get(name) != value]
    if other:
        differs = "another manifest" if "source" in other else f"another {' and '.join(other)}"
        raise UserError(f"{folder}: holds shards of {differs}. Remove it, or give another -o.")


def file_sum(path: Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _shards(folder: Path, rows: Sequence[Row], job: Mapping[str, Any], bar: tqdm) -> Iterator[dict[str, Any]]:
    """What is known of each shard, finished before or written now."""
    done, number = 0, 0
    while done < len(rows):
        name = f"{number:06d}.tar"
        shard = _finished(folder, name, job) or _write(folder, name, rows, done, job)
        bar.update(len(shard["cells"]))
        done, number = done + len(shard["cells"]), number + 1
        yield shard


def _finished(folder: Path, name: str, job: Mapping[str, Any]) -> dict[str, Any] | None:
    known, path = folder / f"{name}{DONE}", folder / name
    if not known.is_file():
        return None
    shard: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
    refuse_another(folder, job, shard["job"])
    return shard if path.is_file() and path.stat().st_size == shard["bytes"] else None


def _write(folder: Path, name: str, rows: Sequence[Row], first: int, job: Mapping[str, Any]) -> dict[str, Any]:
    """Write one shard, from the row `first` on, until it is full; then what is known of it."""
    cells: dict[str, dict[str, str]] = {}
    with replacing(folder / name) as partial:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(first, len(rows)):
                members = _members(rows[number], number)
                size = sum(1024 + len(content) for _, _, content in members) + tarfile.RECORDSIZE
                if cells and tar.offset + size > job["megabytes"] * 1e6:
                    break
                cells[rows[number]["ID"]] = {
                    column: f"{DATA_ROOT}/{folder.name}/{name}/{member}@{_add(tar, member, content)}"
                    for column, member, content in members
                }
        sync(partial)
    path = folder / name
    shard = {"job": job, "name": name, "bytes": path.stat().st_size, "sha256": file_sum(path), "cells": cells}
    write_whole(folder / f"{name}{DONE}", json.dumps(shard))
    return shard


def _members(row: Row, number: int) -> list[tuple[str, str, bytes]]:
    """The columns of an example, their names in the tar and their bytes; first the row itself, under no column."""
    files = {column: row[column] for column in row if column.endswith("_wav") and row[column]}
    others = {column: row[column] for column in row if column not in files}
    members = [("", f"{number:08d}.json", json.dumps(others, ensure_ascii=False).encode("utf-8", "surrogateescape"))]
    for column, path in files.items():
        ending, content = encoded(*read(path))
        members.append((column, f"{number:08d}.{column.removesuffix('_wav')}.{ending}", content))
    return members


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> str:
    """Add a file that depends on nothing but its name and content; returns where its bytes lie."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
    padded = -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return f"{tar.offset - padded}+{len(content)}"


def _finish(folder: Path, job: Mapping[str, Any], rows: Sequence[Row], shards: Sequence[Mapping[str, Any]]) -> None:
    """Write the manifest of the shards, their sums and, when all else is there, the index."""
    cells = {ID: row for shard in shards for ID, row in shard["cells"].items()}
    write_manifest(folder / MANIFEST, [{**row, **_only_columns(cells[row["ID"]])} for row in rows])
    facts = [{key: shard[key] for key in ("name", "bytes", "sha256")} for shard in shards]
    facts = [{**fact, "examples": len(shard["cells"])} for fact, shard in zip(facts, shards, strict=True)]
    write_whole(folder / SUMS, "".join(f"{fact['sha256']}  {fact['name']}\n" for fact in facts))
    index = {**job, "examples": len(rows), "manifest": file_sum(folder / MANIFEST), "shards": facts}
    write_whole(folder / INDEX, json.dumps(index, indent=1) + "\n")
    for shard in shards:
        (folder / f"{shard['name']}{DONE}").unlink()


def _only_columns(cells: Mapping[str, str]) -> dict[str, str]:
    return {column: cell for column, cell in cells.items() if column}
