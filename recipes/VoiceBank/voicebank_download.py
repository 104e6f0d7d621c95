"""Fetch the four archives of VoiceBank-DEMAND from Edinburgh DataShare, check and unpack them.

An interrupted download is continued where it stopped, and an archive is used only if its MD5 sum is right.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

from lobes.data.archives import unpack
from lobes.data.files import ENDING
from lobes.errors import UserError

SOURCE = "https://datashare.ed.ac.uk/bitstream/handle/10283/2791"
MD5 = {
    "clean_trainset_28spk_wav.zip": "d2d5a45ec32f8fcbf201bde0447e20ba",
    "noisy_trainset_28spk_wav.zip": "1fca9e8bafb8cd069f6653c6d92f9e9c",
    "clean_testset_wav.zip": "34eb1c0ba7ef667e9b966866c542fc16",
    "noisy_testset_wav.zip": "fb1b86caa31e8ba5b506c0c64da9aab5",
}
BLOCK = 1 << 20
LARGEST = 8 << 30  # bytes of an archive; the largest has 2.6 GB


def download(folder: str | os.PathLike[str], source: str = SOURCE, sums: dict[str, str] | None = None) -> None:
    """Fetch and unpack what is missing.

    Arguments
    ---------
    folder : str or PathLike
        Where the archives and their folders go.
    source : str
        Address of the folder that holds the archives.
    sums : dict, optional
        Archive -> MD5 sum (default: the four of VoiceBank-DEMAND).

    Raises
    ------
    UserError
        The address cannot be reached, or an archive is not what it should be, also one that lies there already.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in (MD5 if sums is None else sums).items():
        target = folder / Path(name).stem
        if target.is_dir():
            print(f"{target.name}: there")
            continue
        archive = folder / name
        if not archive.exists():
            fetch(f"{source}/{name}", archive, md5)
        elif (found := md5_of(archive)) != md5:
            raise UserError(f"{archive}: expected the MD5 sum {md5}, got {found}. Delete it and try again.")
        unpack(archive, target)


def fetch(url: str, archive: Path, md5: str) -> None:
    """Fetch a file; `<name>.partial` holds what has arrived so far."""
    part = archive.with_name(archive.name + ENDING)
    try:
        _append(url, part)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(f"cannot fetch {url}: {error}. The same command goes on where it stopped.") from error
    found = md5_of(part)
    if found != md5:
        part.unlink()
        raise UserError(f"{url}: expected the MD5 sum {md5}, got {found}; it was deleted. Try again.")
    part.rename(archive)


def _append(url: str, part: Path) -> None:
    """Ask for the missing bytes; if the server sends the whole file instead, start again."""
    from tqdm import tqdm

    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        done = done if response.status == 206 else 0
        total = done + int(response.headers.get("Content-Length", 0))
        with tqdm(total=total or None, initial=done, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar:
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
                if file.tell() > LARGEST:
                    raise OSError(f"more than {LARGEST:,} bytes came, which is no archive of this set")
    if part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def md5_of(path: Path) -> str:
    """Return the MD5 sum of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
