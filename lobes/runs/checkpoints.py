"""The checkpoint folders of a run: what their CKPT.yaml says, their order, and whether every byte is as it was written.

CKPT.yaml is SpeechBrain's, with two additions: its first line holds the sha256 of the rest of it, and its key `files`
holds the size and the sha256 of every other file. Those of stock SpeechBrain and of earlier versions have neither.
Nothing is loaded, renamed or removed here.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.weights import sha256

SUM = "# sha256 of the rest of this file: "
FILES, END_OF_EPOCH, STEP = "files", "end-of-epoch", "step"
PART = ".ckpt"  # ends the name of each object's file, as SpeechBrain's PARAMFILE_EXT
SHOWN = 3  # checkpoints in a message
Order = tuple[float, float, bool, float, float]


class FoundCheckpoint(NamedTuple):
    """A checkpoint folder and what its CKPT.yaml says; where that cannot be read, the reason."""

    path: Path
    meta: dict[str, Any]
    fault: str = ""


class Damaged(Exception):
    """The message says which file of a checkpoint is not as it was written."""


def found(save: str | Path) -> list[FoundCheckpoint]:
    """All checkpoint folders below `save`, by name, whatever is in them."""
    checkpoints = []
    for path in sorted(path for path in Path(save).glob(names.CHECKPOINTS) if path.is_dir()):
        try:
            checkpoints.append(FoundCheckpoint(path, read_meta(path)))
        except Damaged as fault:
            checkpoints.append(FoundCheckpoint(path, {}, str(fault)))
    return checkpoints


def order_of(path: Path, meta: Mapping[str, Any]) -> Order:
    """What newer checkpoints have more of: steps, epochs, ends of an epoch, batches in it; the clock counts last.

    The clock may be set back. Steps alone are not enough: an epoch may begin with batches that are skipped.

    Example
    -------
    >>> late, early = {"step": 32, "unixtime": 0.0}, {"step": 16, "unixtime": 9.0}
    >>> order_of(Path("a"), late) > order_of(Path("b"), early)
    True
    """
    step = number(meta.get(STEP))
    if step == -math.inf:  # within an epoch, earlier versions wrote none
        step = number(_counted(path / names.COUNTS[0]))
    epoch, batch, seconds = (number(meta.get(key)) for key in ("epoch", "batch", "unixtime"))
    return step, epoch, meta.get(END_OF_EPOCH) is not False, batch, seconds


def number(value: Any) -> float:
    """A value as a number by which to rank: what is none, or not finite, is the lowest.

    Example
    -------
    >>> number(3), number(float("nan")), number(None)
    (3.0, -inf, -inf)
    """
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else -math.inf
    except OverflowError:  # a whole number of hundreds of digits
        return -math.inf


def newest(save: str | Path) -> FoundCheckpoint | None:
    """The newest checkpoint whose files are all as they were written; None where there are no checkpoints.

    Raises
    ------
    UserError
        If there are checkpoint folders and none of them can be used.
    """
    chosen, faults = first_whole(lambda: [one.path for one in newest_first(found(save))])
    if chosen is None and faults:
        raise none_whole(save, faults)
    return None if chosen is None else FoundCheckpoint(chosen, read_meta(chosen))


def newest_first(checkpoints: Iterable[FoundCheckpoint]) -> list[FoundCheckpoint]:
    """The newest first; those whose place nobody knows, before all others."""
    return sorted(checkpoints, key=lambda one: (bool(one.fault), order_of(one.path, one.meta)), reverse=True)


def first_whole(
    ranked: Callable[[], Iterable[Path]], needed: Collection[str] = ()
) -> tuple[Path | None, dict[Path, str]]:
    """The first checkpoint that can be used, and what is wrong with those before it.

    Arguments
    ---------
    ranked : function
        It lists the folders, the first choice first. It is asked again where a training that goes on removes one of
        them while it is read.
    needed : collection of str
        Files without which a checkpoint is of no use.
    """
    faults: dict[Path, str] = {}
    for path in ranked():
        fault = fault_of(path, needed)
        if not fault:
            return path, faults
        if not path.is_dir():
            return first_whole(ranked, needed)
        faults[path] = fault
    return None, faults


def none_whole(save: str | Path, faults: Mapping[Path, str]) -> UserError:
    """The error of a folder in which every checkpoint is damaged."""
    return UserError(
        f"{save}: no checkpoint can be used ({in_words(faults)}). Nothing was changed. Bring them back from a copy, or "
        "give another --output_folder to start from zero."
    )


def in_words(faults: Mapping[Path, str]) -> str:
    """The first few checkpoints and what is wrong with each."""
    words = [f"{path.name}: {fault}" for path, fault in faults.items()]
    return "; ".join(words[:SHOWN]) + (f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def fault_of(checkpoint: Path, needed: Collection[str] = (), only: Collection[str] | None = None) -> str:
    """Why a checkpoint cannot be used; empty if it can.

    Arguments
    ---------
    checkpoint : Path
        Its folder.
    needed : collection of str
        Files that it must have.
    only : collection of str, optional
        Look at these files and at CKPT.yaml alone, for what needs no more than the weights.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "counter.ckpt").write_text("3")
    ...     write_meta(Path(folder), {"unixtime": 0.0, "end-of-epoch": True})
    ...     before = fault_of(Path(folder))
    ...     _ = Path(folder, "counter.ckpt").write_text("2")
    ...     before, fault_of(Path(folder))
    ('', 'counter.ckpt is not as it was written (sha256 differs)')
    """
    try:
        meta = read_meta(checkpoint)
        if only is None and not isinstance(meta.get(END_OF_EPOCH), bool):
            raise Damaged(f"{names.CHECKPOINT_META} has no {END_OF_EPOCH}")
        sums = meta.get(FILES)
        there = sorted(path.name for path in parts_of(checkpoint)) if sums is None else sorted(sums)
        for name in needed:
            if name not in there:
                raise Damaged(f"{name} is missing")
        for name in there if only is None else only:
            _look_at(checkpoint / name, None if sums is None else sums.get(name))
    except Damaged as fault:
        return str(fault)
    except OSError as error:
        return f"{Path(error.filename or checkpoint).name} cannot be read ({error.strerror})"
    return ""


def parts_of(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint without sums; what editors, file managers and copies leave there is none of them.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("counter.ckpt", "counter.ckpt~", "._counter.ckpt", ".DS_Store"):
    ...         Path(folder, name).touch()
    ...     [path.name for path in parts_of(Path(folder))]
    ['counter.ckpt']
    """
    return [path for path in checkpoint.iterdir() if path.suffix == PART and not path.name.startswith(".")]


def read_meta(checkpoint: Path) -> dict[str, Any]:
    """What CKPT.yaml says.

    Raises
    ------
    Damaged
        If it is missing or not as it was written.
    """
    path = checkpoint / names.CHECKPOINT_META
    if not path.is_file():
        raise Damaged(f"{path.name} is missing")
    try:
        content = path.read_bytes()
        meta = yaml.safe_load(content.decode("utf-8"))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise Damaged(f"{path.name} cannot be read") from error
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from error
    first, _, rest = content.partition(b"\n")
    if not isinstance(meta, dict):
        raise Damaged(f"{path.name} is empty or cut off" if meta is None else f"{path.name} cannot be read")
    summed = first.startswith(SUM.encode()) or FILES in meta
    if summed and not (first == _sum_line(rest) and _are_sums(meta.get(FILES))):
        raise Damaged(f"{path.name} is not as it was written (sha256 differs)")
    return meta


def write_meta(checkpoint: Path, meta: Mapping[str, Any]) -> None:
    """Write CKPT.yaml with the sums of all other files that the folder has by now."""
    files = sorted(path for path in checkpoint.iterdir() if path.name != names.CHECKPOINT_META)
    sums = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files}
    content = {key: _plain(value) for key, value in meta.items()} | {FILES: sums}
    rest = b"# yamllint disable\n" + yaml.safe_dump(content, encoding="utf-8")
    write_whole(checkpoint / names.CHECKPOINT_META, _sum_line(rest) + b"\n" + rest)


def _are_sums(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str)
        and Path(name).name == name
        and isinstance(one, dict)
        and {"bytes", "sha256"} <= one.keys()
        for name, one in value.items()
    )


def _look_at(path: Path, expected: Any) -> None:
    """Compare a file with its size and sum; in a checkpoint without sums, look for the traces of a cut-off write."""
    if not path.is_file():
        raise Damaged(f"{path.name} is missing")
    size = path.stat().st_size
    if expected is None:
        _look_for_a_cut(path, size)
    elif size != expected["bytes"]:
        raise Damaged(f"{path.name} is not as it was written ({size} of {expected['bytes']} bytes)")
    elif sha256(path) != expected["sha256"]:
        raise Damaged(f"{path.name} is not as it was written (sha256 differs)")


def _look_for_a_cut(path: Path, size: int) -> None:
    """PyTorch's files are zip files, which carry sums of their own that PyTorch does not look at."""
    if not size:
        raise Damaged(f"{path.name} is empty")
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise Damaged(f"{path.name} is cut off or damaged") from error
        if bad:
            raise Damaged(f"{path.name} is damaged")


def _plain(value: Any) -> Any:
    """A number of NumPy's or PyTorch's as Python's, so that reading the file needs nothing but YAML."""
    return value.item() if hasattr(value, "item") else value


def _counted(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("steps")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _sum_line(rest: bytes) -> bytes:
    return (SUM + hashlib.sha256(rest).hexdigest()).encode()
