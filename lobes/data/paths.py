"""Paths as people write them in tables: the file that is meant, on this computer."""

from __future__ import annotations

import filecmp
import functools
import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lobes.errors import UserError

PLACEHOLDER = re.compile(r"(?:\$\{?|\{)data_(?:root|folder)\}?(?=[/\\]|$)[/\\]*", re.IGNORECASE)
OTHER_PLACEHOLDER = re.compile(r"\$\{?\w+\}?(?=[/\\])|\{\w+\}(?=[/\\])|%\w+%(?=[/\\])|<\w+>(?=[/\\])")
WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]")  # a drive, or a server


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path from the root, with ~ and .. resolved; links stay as they are, but for `link/..`.

    Example
    -------
    >>> absolute("/data/./mine/../other")
    PosixPath('/data/other')
    """
    path = os.path.expanduser(path)
    plain = os.path.abspath(path)
    if ".." in path.split(os.sep) and os.path.exists(path):  # behind a link, .. is not the folder before it
        return Path(plain if os.path.exists(plain) and os.path.samefile(plain, path) else os.path.realpath(path))
    return Path(plain)


def is_inside(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Return whether a path, which need not exist, is a folder or lies in it, whatever links lead there.

    Example
    -------
    >>> is_inside("/data/mine/results", "/data/mine"), is_inside("/data/mine2", "/data/mine")
    (True, False)
    """
    path, folder = (Path(os.path.realpath(absolute(each))) for each in (path, folder))
    if path.is_relative_to(folder):
        return True
    above = [place for place in (path, *path.parents) if place.exists()]
    return folder.exists() and any(place.samefile(folder) for place in above)  # case of letters, mounts


def refuse_inside(output: str | os.PathLike[str], data_folder: str | os.PathLike[str], option: str) -> None:
    """Raise a UserError if a folder that a program writes into lies in the data folder, which is only read.

    Example
    -------
    >>> refuse_inside("/results", "/data/mine", "output_folder")
    """
    if is_inside(output, data_folder):
        raise UserError(
            f"{option} {output} lies in data_folder {data_folder}, which is never written into. "
            f"Choose another {option}."
        )


def resolve_path(written: str, table: str | os.PathLike[str], data_folder: str | os.PathLike[str] | None = None) -> str:
    r"""Return the file that a cell of a table means, as an absolute path; it need not exist.

    A relative path starts at the table's folder, or else at the data folder. `$data_root`, also `{data_root}` and
    `${data_root}`, is the data folder. Backslashes, `file://` and `~` are understood. Where no file has exactly this
    name, one in another Unicode normal form is taken (macOS), or in another case, if there is only one.

    Arguments
    ---------
    written : str
        The cell, not empty.
    table : str or PathLike
        The table's path.
    data_folder : str or PathLike, optional
        The data folder.

    Raises
    ------
    UserError
        A placeholder without a meaning, a path of Windows elsewhere, two different files that may be meant.

    Example
    -------
    >>> resolve_path(r"$data_root\mix\a.wav", "/tables/train.csv", "/data"), resolve_path("b.wav", "/tables/train.csv")
    ('/data/mix/a.wav', '/tables/b.wav')
    """
    starts = [absolute(table).parent, *([absolute(data_folder)] if data_folder is not None else [])]
    found = _alternatives(written, starts, data_folder)
    there = list(dict.fromkeys(os.fspath(absolute(path)) for path in found if os.path.exists(path)))
    if len(there) > 1 and not filecmp.cmp(there[0], there[1], shallow=False):
        raise UserError(f"{written} may be {there[0]} or {there[1]}. Write it as $data_root/..., or from the root.")
    if there:
        return there[0]
    similar = (_similar(absolute(path)) for path in found)
    return next((path for path in similar if path), os.fspath(absolute(found[0])))


def _alternatives(written: str, starts: list[Path], data_folder: str | os.PathLike[str] | None) -> list[Path]:
    """The paths that may be meant; the first is what the letters say."""
    if len(written) > 2 and written[0] == written[-1] == '"':  # as Windows copies a path
        written = written[1:-1]
    if written.lower().startswith("file:"):
        written = unquote(urlsplit(written).path)
    if match := PLACEHOLDER.match(written):
        if data_folder is None:
            raise UserError(
                f"{written} starts with {match[0].rstrip('/')}: give the folder that it stands for (--data-root)."
            )
        written, starts = written[match.end() :], starts[1:]
    elif OTHER_PLACEHOLDER.match(written) and not any(os.path.exists(start / written) for start in starts):
        raise UserError(
            f"{written} starts with a placeholder that nothing fills here. Write $data_root for the data folder."
        )
    if WINDOWS.match(written) and os.name != "nt":
        raise UserError(
            f"{written} is a path of Windows, which this computer cannot open. Write paths relative to the "
            "data folder, such as train/mix/a.wav."
        )
    forms = [written] if "\\" not in written or os.name == "nt" else [written, written.replace("\\", "/")]
    return [start / os.path.expanduser(form) for form in forms[::-1] for start in starts]


def _similar(path: Path) -> str | None:
    """The existing path that differs from this one in Unicode normal form or in the case of letters only."""
    place = Path(path.anchor)
    for part in path.parts[1:]:
        if not os.path.lexists(place / part):
            part = _names(str(place), _changed(place)).get(_folded(part), "")
        if not part:
            return None
        place /= part
    return os.fspath(place)


def _changed(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


@functools.lru_cache(maxsize=1024)
def _names(folder: str, changed: int) -> dict[str, str]:
    """Folded name -> name, of what a folder holds; names that fold alike are left out."""
    names: dict[str, str] = {}
    for name in os.listdir(folder) if changed else []:
        names[_folded(name)] = "" if _folded(name) in names else name
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
