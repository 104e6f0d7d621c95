"""What a data folder holds: its sound files, without what other systems leave there, and messages that name it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from lobes.data.manifest import shorten
from lobes.errors import UserError, did_you_mean

READ = (".wav", ".flac")  # of two files of one name the first is taken
OTHER_SOUND = (".wave", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".au", ".sph", ".w64", ".caf")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".bz2", ".xz")
LEFT_BY_SYSTEMS = (".", "~$", "@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx")


def is_foreign(name: str) -> bool:
    """Return whether a name is one that a system leaves behind: `._a.wav`, `.DS_Store`, `~$a.csv`, `@eaDir`.

    Example
    -------
    >>> is_foreign("._a.wav"), is_foreign("a.wav")
    (True, False)
    """
    return name.lower().startswith(LEFT_BY_SYSTEMS)


def sound_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of the WAV and FLAC files in a folder, sorted; none where there is no such folder.

    Raises
    ------
    UserError
        Sound in other formats that would be left out.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b.WAV", "a.wav", "a.flac", "._a.wav", "Thumbs.db"):
    ...         Path(folder, name).touch()
    ...     sound_files(folder)
    ['a.wav', 'b.WAV']
    """
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not is_foreign(entry.name) and not _is_folder(entry)]
    by_type = {ending: {Path(n).stem: n for n in names if n.lower().endswith(ending)} for ending in READ}
    lossy = [name for name in names if name.lower().endswith(OTHER_SOUND)]
    known = {stem for found in by_type.values() for stem in found}
    left_out = sorted(name for name in lossy if Path(name).stem not in known)
    if left_out:
        raise UserError(
            f"{folder}: {len(left_out)} files are sound, but neither WAV nor FLAC: {shorten(left_out)}. "
            "Convert them (ffmpeg -i IN OUT.wav), or move them away."
        )
    wavs = [name for name in names if name.lower().endswith(READ[0])]
    return sorted(wavs + [name for stem, name in by_type[READ[1]].items() if stem not in by_type[READ[0]]])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or leads to one; a link to nothing, or to itself, is a file that is missing."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def by_stem(folder: Path, fold: bool = True) -> dict[str, str]:
    """Return the sound files of a folder by their names without the ending, in one Unicode normal form and case.

    Raises
    ------
    UserError
        Two files of one name, and `fold` is false: then the case of letters counts, and only the ending differs.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "A.WAV").touch()
    ...     by_stem(Path(folder))
    {'a': 'A.WAV'}
    """
    found: dict[str, str] = {}
    for name in sound_files(folder):
        stem = unicodedata.normalize("NFC", Path(name).stem)
        stem = stem.casefold() if fold else stem
        if stem in found and fold:
            return by_stem(folder, fold=False)
        if stem in found:
            raise UserError(f"{folder}: {found[stem]} and {name} have one name. Move one of them away.")
        found[stem] = name
    return found


def holds(folder: Path) -> str:
    """Return what a folder holds, for a message: its folders, or else the number of its files.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     before = holds(Path(folder))
    ...     Path(folder, "mix_clean").mkdir()
    ...     before, holds(Path(folder))
    ('nothing', 'mix_clean')
    """
    entries = sorted(entry for entry in folder.iterdir() if not is_foreign(entry.name))
    folders = [entry.name for entry in entries if entry.is_dir()]
    return ", ".join(folders[:8]) + (" ..." if len(folders) > 8 else "") or (
        shorten([entry.name for entry in entries]) or "nothing"
    )


def missing_folder(folder: Path, hints: Mapping[str, str]) -> UserError:
    """Return the error for a folder that is not there: it names the neighbours, and the options that lead to them.

    Arguments
    ---------
    folder : Path
        The missing folder.
    hints : mapping
        Name of a folder -> the options that choose it.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     Path(root, "mix_clean").mkdir()
    ...     print(str(missing_folder(Path(root, "mix_both"), {"mix_clean": "--mixtures clean"})).partition("; ")[2])
    found mix_clean: set --mixtures clean.
    """
    gone = next(place for place in (folder, *folder.parents) if place.parent.is_dir())
    if gone.is_file():
        return UserError(f"{gone}: is a file, expected a folder.")
    if not gone.parent.name:
        return UserError(f"{folder}: no such folder.")
    options = _options(gone.parent, hints)
    near = "" if options else _near(gone)
    return UserError(
        f"{folder}: no such folder. In {gone.parent} expected {gone.name}; found {holds(gone.parent)}"
        + (f": set {' or '.join(options)}." if options else f".{near}")
    )


def _near(gone: Path) -> str:
    """What may be meant by a folder that is not there: a similar name, or an archive that is not unpacked."""
    folders = [path.name for path in gone.parent.iterdir() if path.is_dir()]
    archives = sorted(path.name for path in gone.parent.iterdir() if path.name.lower().endswith(ARCHIVES))
    same = [name for name in folders if _folded(name) == _folded(gone.name)]
    if same and same[0].casefold() != gone.name.casefold():
        return f" {same[0]} is written in another Unicode form: copy its name, or let the shell complete it."
    unpack = f" Unpack {shorten(archives)}." if archives else ""
    return f" Did you mean {same[0]!r}?" if same else did_you_mean(gone.name, folders) or unpack


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _options(folder: Path, hints: Mapping[str, str]) -> Iterable[str]:
    return list(dict.fromkeys(hints[name] for name in sorted(os.listdir(folder)) if name in hints))
