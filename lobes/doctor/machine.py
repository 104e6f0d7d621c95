"""Memory, disk, shared memory and open files, without PyTorch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lobes.doctor.finding import FAIL, OK, WARN, Finding, in_bytes
from lobes.errors import UserError

DISK = 2 * 2**30  # bytes from which on a folder for runs is large enough to begin with: some checkpoints of 100 MB
TEMPORARY = 2**28
MEMORY = 4 * 2**30  # bytes: a training of a small preset holds 1 to 2 GB
SHARED = 2**28  # bytes that batches of several loader workers need at most; containers have 64 MB by default
FILES = 1024  # open files: loader workers pass every tensor as one
SHARED_FOLDER = "/dev/shm"
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def check_machine(output_folder: str) -> Iterator[Finding]:
    """What a run needs of the machine: memory, a folder to write to with room in it, and the system's limits."""
    yield _memory()
    yield from check_folder("output folder", output_folder, DISK)
    yield from check_folder("temporary folder", tempfile.gettempdir(), TEMPORARY)
    asked = os.environ.get("TMPDIR")
    if asked and not os.path.samefile(existing(tempfile.gettempdir()), existing(asked)):
        text = f"TMPDIR={asked} cannot be written, {tempfile.gettempdir()} is used. Make that folder, or unset TMPDIR."
        yield Finding(WARN, "temporary folder", text)
    if os.path.isdir(SHARED_FOLDER):
        yield shared_memory(SHARED)
    yield from _open_files()


def check_folder(what: str, folder: str, needed: float) -> Iterator[Finding]:
    """A folder, which may not exist yet, can be written and has room.

    Example
    -------
    >>> [finding.level for finding in check_folder("output folder", "/dev/null/run", 0)]
    ['FAIL']
    """
    from lobes.training.checks import refuse_unwritable

    try:
        refuse_unwritable(folder, what)
    except UserError as error:
        yield Finding(FAIL, what, str(error).removeprefix(f"{what}: "))
        return
    free = shutil.disk_usage(existing(folder)).free
    if free < needed:
        text = f"{in_bytes(free)} free in {folder}, at least {in_bytes(needed)} are needed."
        yield Finding(FAIL, what, f"{text} Free some space, or give another folder.")
    else:
        yield Finding(OK, what, f"{folder} can be written, {in_bytes(free)} free")


def existing(folder: str | os.PathLike[str]) -> Path:
    """The nearest folder above that exists.

    Example
    -------
    >>> existing("/no/such/folder")
    PosixPath('/')
    """
    path = Path(folder).absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def available_memory() -> tuple[int, int]:
    """Bytes that are free, and that there are: of the machine or, where it has a limit, of the container.

    Example
    -------
    >>> free, total = available_memory()
    >>> 0 < free <= total
    True
    """
    import psutil

    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    for path in LIMITS:
        text = Path(path).read_text(encoding="utf-8").strip() if os.path.isfile(path) else ""
        if text.isdigit() and int(text) < total:
            total = int(text)
            free = min(free, max(1, total - psutil.Process().memory_info().rss))
    return free, total


def _memory() -> Finding:
    free, total = available_memory()
    text = f"{in_bytes(free)} of {in_bytes(total)} free"
    if free < MEMORY:
        return Finding(WARN, "memory", f"{text}; a training of a small preset holds 1 to 2 GB. End other programs.")
    return Finding(OK, "memory", text)


def shared_memory(needed: float, why: str = "loader workers pass batches through it") -> Finding:
    """Whether /dev/shm has room for the batches that loader workers hand over."""
    free = shutil.disk_usage(SHARED_FOLDER).free
    if free < needed:
        text = (
            f"{in_bytes(free)} free in {SHARED_FOLDER}, {in_bytes(needed)} are wanted: {why}, and end with 'Bus error'"
        )
        advice = "Give the container more (docker run --shm-size 2g), or train with --num_workers 0."
        return Finding(FAIL, "shared memory", f"{text}. {advice}")
    return Finding(OK, "shared memory", f"{in_bytes(free)} free in {SHARED_FOLDER}")


def _open_files() -> Iterator[Finding]:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < FILES:
        text = (
            f"{soft} may be open at a time: loader workers end with 'Too many open files'. Raise it: ulimit -n {FILES}"
        )
        yield Finding(
            FAIL, "open files", text if hard < 0 or hard >= FILES else f"{text} (an administrator must: {hard})"
        )
    else:
        yield Finding(OK, "open files", f"up to {soft}")
