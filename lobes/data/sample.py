"""A seeded sample of a data set's audio, read before every training: mixtures are their sums, sources hold sound."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lobes.data.checks import deviation, in_threads, is_source, read_parts
from lobes.data.manifest import SPLITS, read_manifest, shorten
from lobes.errors import UserError, did_you_mean

ROWS, SEED = 20, 0  # of each split
SECONDS = 600.0  # of mixtures in a sample: recordings of an hour are few rows
CHECKS = ("sum", "silence")  # the words of the key `sample_checks`
MAX_LSB = 16  # steps of 16 bit, ample for the rounding of seven parts
SILENT = 1e-4  # a peak below -80 dBFS
FULL_SCALE, CLIPPED = 0.999, 4  # so many samples in a row at full scale are no peak of speech


class Heard(NamedTuple):
    """What a row's audio showed; parts are named as columns without `_wav`."""

    ID: str
    parts: tuple[str, ...]
    silent: tuple[str, ...]
    clipped: tuple[str, ...]
    equal: tuple[str, ...]  # sources that are the mixture, sample by sample
    lsb: float  # largest deviation of the mixture from the sum of its parts
    limited: bool  # whether a limiter explains it

    @property
    def sources(self) -> list[str]:
        """The names of the sources."""
        return [part for part in self.parts if is_source(part)]


def seeded(rows: Sequence[Any], number: int = ROWS, seed: int = SEED) -> list[Any]:
    """Choose rows at random, the same ones each time, in their order.

    Of long recordings, whose `duration` a row may say, there are fewer: at most 10 minutes, or one row.

    Example
    -------
    >>> seeded(range(1000), 3) == seeded(range(1000), 3), len(seeded("ab", 20))
    (True, 2)
    >>> len(seeded([{"ID": ID, "duration": 240.0} for ID in "abcdef"]))
    2
    """
    order = np.random.default_rng(seed).permutation(len(rows))[:number]
    ends = np.cumsum([seconds_of(rows[index]) for index in order])
    most = max(1, int(np.searchsorted(ends, SECONDS, side="right")))
    return [rows[index] for index in sorted(order[:most])]


def seconds_of(row: Any) -> float:
    """The duration of a row in seconds; 0 where it says none.

    Example
    -------
    >>> seconds_of({"ID": "a", "duration": "4.0"}), seconds_of({"ID": "a"}), seconds_of({"duration": "long"})
    (4.0, 0.0, 0.0)
    """
    try:
        seconds = float(row.get("duration") or 0.0) if isinstance(row, Mapping) else 0.0
    except ValueError:
        return 0.0
    return max(0.0, seconds) if np.isfinite(seconds) else 0.0


def listen(rows: Sequence[Mapping[str, Any]], limited_parts: Sequence[str] = ()) -> list[Heard]:
    """Read all parts of rows, with absolute paths, and say what is in them.

    Arguments
    ---------
    rows : sequence of dict
        With an ID and absolute `*_wav` paths; empty ones are absent.
    limited_parts : sequence of str
        As in `lobes.data.checks.check_sum`.

    Raises
    ------
    UserError
        A file that cannot be read whole, parts of unequal length.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data import audio
    >>> with TemporaryDirectory() as folder:
    ...     row = {"ID": "a", **{f"{part}_wav": f"{folder}/{part}.wav" for part in ("mix", "s1", "s2")}}
    ...     for part, level in (("mix", 0.5), ("s1", 0.5), ("s2", 0.0)):
    ...         audio.write(row[f"{part}_wav"], np.full(2000, level), 8000)
    ...     heard = listen([row])[0]
    >>> heard.silent, heard.equal, heard.lsb
    (('s2',), ('s1',), 0.0)
    """
    return list(in_threads(functools.partial(_listen, limited_parts=limited_parts), rows, "reading audio"))


def _listen(row: Mapping[str, Any], limited_parts: Sequence[str]) -> Heard:
    parts = read_parts(row)
    lsb, limited = deviation(parts, limited_parts) if len(parts) > 1 else (0.0, False)
    return Heard(
        ID=row["ID"],
        parts=tuple(parts),
        silent=tuple(part for part, x in parts.items() if np.abs(x).max() < SILENT),
        clipped=tuple(part for part, x in parts.items() if is_clipped(x)),
        equal=tuple(part for part, x in parts.items() if is_source(part) and np.array_equal(x, parts["mix"])),
        lsb=lsb,
        limited=limited,
    )


def is_clipped(x: np.ndarray) -> bool:
    """Whether samples [T] stay at full scale for several samples in a row.

    Example
    -------
    >>> is_clipped(np.array([0.5, 1.0, 1.0, 1.0, 1.0, 0.2])), is_clipped(np.array([0.5, 1.0, 0.5, -1.0]))
    (True, False)
    """
    full = np.concatenate([[False], np.abs(x) >= FULL_SCALE, [False]])
    edges = np.flatnonzero(full[1:] != full[:-1])
    return bool(len(edges)) and int((edges[1::2] - edges[::2]).max()) >= CLIPPED


def check_sample(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    sample_checks: Sequence[str] = CHECKS,
    verify_sum: float | None = None,
    limited_parts: Sequence[str] = (),
    sums: bool = True,
) -> None:
    """Read 20 rows of each split of prepared manifests, refuse what cannot be meant, and print what was seen.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        What `$data_root` stands for, and where train.csv, valid.csv and test.csv lie.
    sample_checks : sequence of str
        "sum": a mixture is the sum of its parts, and where only one part is stored it is not that part; "silence": no
        part that is a source or the mixture is silent in all these rows. Empty: nothing is read.
    verify_sum : float, optional
        Largest deviation of a mixture from the sum, in steps of 16 bit; 16 if not given.
    limited_parts : sequence of str
        As in `lobes.data.checks.check_sum`.
    sums : bool
        Whether the mixtures are sums of the stored parts, as far as the data set's options say.

    Raises
    ------
    UserError
        With the key that switches the check off.

    Example
    -------
    >>> check_sample("/data", "/none", [])
    >>> check_sample("/data", "/none", ["sums"])
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: sample_checks: expected a list of sum, silence, got 'sums'. Did you mean 'sum'?
    """
    for word in sample_checks:
        if word not in CHECKS:
            raise UserError(
                f"sample_checks: expected a list of {', '.join(CHECKS)}, got {word!r}.{did_you_mean(str(word), CHECKS)}"
            )
    if not sample_checks:
        return
    for split in SPLITS:
        rows = read_manifest(Path(save_folder, f"{split}.csv"), data_folder)
        heard = listen(seeded(rows), limited_parts)
        where = f"a sample of {len(heard)} of {len(rows):,} rows of {split}, seed {SEED}"
        if "silence" in sample_checks:
            refuse_silent(heard, where)
        if "sum" in sample_checks and sums:
            refuse_other_sums(heard, where, verify_sum)
        _print(heard, where, sums and "sum" in sample_checks)


def refuse_silent(heard: Sequence[Heard], where: str) -> None:
    """Raise a UserError if the mixture or a source is silent in all rows."""
    for part in dict.fromkeys(part for item in heard for part in ["mix", *item.sources]):
        if all(part in item.silent for item in heard):
            raise UserError(
                f"{part} is silent (below -80 dBFS) in {where}: in all of them. Check these files, or leave this check "
                "out: --sample_checks [sum]."
            )


def refuse_other_sums(heard: Sequence[Heard], where: str, verify_sum: float | None = None) -> None:
    """Raise a UserError if mixtures are not the sums of their parts, or the only part in all rows."""
    if all(is_alone(item) and item.equal for item in heard):
        raise UserError(
            f"mix and {heard[0].sources[0]} are the same samples in {where}: in all of them. Check where the folders "
            "come from, or leave this check out: --sample_checks [silence]."
        )
    most = MAX_LSB if verify_sum is None else verify_sum
    off = [item for item in heard if not is_alone(item) and item.lsb > most and not item.limited]
    if off:
        raise UserError(
            f"{len(off)} mixtures are not the sum of their parts ({', '.join(off[0].parts[1:])}) in {where}: "
            f"{shorten([item.ID for item in off])}; the largest deviation is {max(item.lsb for item in off):.0f} steps "
            f"of 16 bit, allowed are {most:g}. Check these files; where mixtures rightly hold more than their parts, "
            "such as noise or reverberation, leave this check out: --sample_checks [silence]."
        )


def is_alone(heard: Heard) -> bool:
    """Whether only one part of the mixture is stored, so that there is no sum."""
    return len(heard.parts) <= 2


def notes(heard: Sequence[Heard]) -> list[str]:
    """Say which parts are silent or clipped in some rows, in words.

    Example
    -------
    >>> notes([Heard(ID, ("mix", "s1"), silent, (), (), 0.0, False) for ID, silent in (("a", ("s1",)), ("b", ()))])
    ['s1 is silent in 1 of 2 rows (a)']
    """
    found = []
    for what, of in (("silent", [item.silent for item in heard]), ("clipped", [item.clipped for item in heard])):
        for part in dict.fromkeys(part for parts in of for part in parts):
            IDs = [item.ID for item, parts in zip(heard, of, strict=True) if part in parts]
            if part == "mix" or is_source(part):
                found.append(f"{part} is {what} in {len(IDs)} of {len(heard)} rows ({shorten(IDs)})")
    return found


def _print(heard: Sequence[Heard], where: str, sums: bool) -> None:
    alone = all(map(is_alone, heard))
    held = "mixtures are their sums" if not alone else "sums cannot be checked, as one part alone is stored"
    words = [held if sums else "sums not checked", *notes(heard)]
    print(f"{where}: {'; '.join(words)}")
