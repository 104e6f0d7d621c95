"""Unpacking a ZIP archive of unknown origin: files of one ending into one folder, within limits, or a line why not."""

from __future__ import annotations

import errno
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lobes.data.files import ENDING
from lobes.errors import UserError

_BLOCK = 1 << 20
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError, OSError,
)  # fmt: skip


class Limits(NamedTuple):
    """What an archive may hold."""

    file_bytes: int = 200 << 20  # of one file, unpacked
    all_bytes: int = 20 << 30  # of all files together
    ratio: float = 20.0  # of all files to the archive; speech is packed to a half
    files: int = 200_000


def unpack(archive: Path, target: Path, ending: str = ".wav", limits: Limits | None = None) -> None:
    """Unpack the files of an ending into a folder, whatever folders the archive has inside.

    What the archive says of itself is looked at first, and what comes out is counted. The folder is there whole or not
    at all.

    Arguments
    ---------
    archive : Path
        A ZIP file.
    target : Path
        The folder; it must not be there.
    ending : str
        Files without it, and hidden ones, are left out.
    limits : Limits, optional

    Raises
    ------
    UserError
        If it is no whole ZIP archive, is encrypted or packed in another way than deflated, holds links, names that
        lead out of it or two files of one name, or is larger unpacked than the limits.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/a.zip", "w") as bundle:
    ...         bundle.writestr("inside/b.wav", b"RIFF")
    ...     unpack(Path(folder, "a.zip"), Path(folder, "a"))
    ...     Path(folder, "a", "b.wav").read_bytes()
    b'RIFF'
    """
    limits = limits or Limits()
    unfinished = target.with_name(target.name + ENDING)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = _members(archive, bundle, ending, limits)
            for name, member in members.items():
                _write(bundle, member, unfinished / name, limits)
        unfinished.rename(target)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's start
            raise
        reason = str(error) or type(error).__name__
        raise UserError(f"{archive}: not a whole ZIP archive ({reason}). Delete it and try again.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _members(archive: Path, bundle: zipfile.ZipFile, ending: str, limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """The files to unpack by their names, if nothing that the archive says speaks against it."""
    listed = bundle.infolist()
    if len(listed) > limits.files:
        raise UserError(f"{archive}: {len(listed):,} files, expected at most {limits.files:,}.")
    members: dict[str, zipfile.ZipInfo] = {}
    known: dict[str, str] = {}
    for member in listed:
        if reason := _odd(member):
            raise UserError(f"{archive}: {member.filename!r} {reason}; nothing was unpacked.")
        name = PurePosixPath(member.filename).name
        if member.is_dir() or not name.endswith(ending) or name.startswith("."):
            continue
        key = unicodedata.normalize("NFC", name).casefold()  # one file on some file systems
        if key in known:
            raise UserError(f"{archive}: {member.filename!r} and {known[key]!r} have one name; nothing was unpacked.")
        known[key], members[name] = member.filename, member
    _refuse_large(archive, list(members.values()), limits)
    return members


def _odd(member: zipfile.ZipInfo) -> str:
    """What is wrong with an entry, or nothing."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    kind = stat.S_IFMT(member.external_attr >> 16)
    if ".." in parts or (parts and (parts[0] == "/" or parts[0].endswith(":"))):
        return "leads out of the archive"
    if "\\" in member.filename or not member.filename.isprintable():
        return "is no name of a file"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return f"is packed by method {member.compress_type}, expected stored or deflated"
    return ""


def _refuse_large(archive: Path, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    for member in members:
        if member.file_size > limits.file_bytes:
            raise UserError(
                f"{archive}: {member.filename!r} unpacks to {member.file_size:,} bytes, expected at most "
                f"{limits.file_bytes:,}; nothing was unpacked."
            )
    total, packed = sum(member.file_size for member in members), archive.stat().st_size
    most = min(limits.all_bytes, int(limits.ratio * packed))
    if total > most:
        raise UserError(
            f"{archive}: {packed:,} bytes unpack to {total:,}, expected at most {most:,}; nothing was unpacked."
        )


def _write(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, limits: Limits) -> None:
    """Unpack one file; the length that the archive states may be wrong."""
    left = min(member.file_size, limits.file_bytes)
    with bundle.open(member) as source, path.open("xb") as file:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.filename!r} is longer than it says")
            file.write(block)
    if left > 0:
        raise zipfile.BadZipFile(f"{member.filename!r} is shorter than it says")
