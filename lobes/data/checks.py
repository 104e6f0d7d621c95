"""Checks of a data set's audio before training: headers (rate, channels, equal lengths) and mix = sum of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lobes.data import audio
from lobes.data.manifest import SOURCE, check_files, chosen_rows, shorten, wav_files
from lobes.errors import UserError

THREADS = 8
PATIENCE = 5000  # files or rows from which on a progress bar is shown
LIMITER = 0.998  # limiters clip at 0.999 or above: from this level on a sum may rightly differ from its parts
LSB = 1 / 32768

Row = Mapping[str, Any]


def check_audio(rows: Sequence[Row], sample_rate: int, which: str = "all") -> list[float]:
    """Check that files exist and that their headers agree; return the real durations of the mixtures in seconds.

    Arguments
    ---------
    rows : sequence of dict
        With an ID and absolute `*_wav` paths; empty ones are absent.
    sample_rate : int
        The rate that every file must have (Hz).
    which : str
        "all" rows, the "first" 50, or "none"; the mixtures' headers are read in any case, for the durations.

    Raises
    ------
    UserError
        Missing files (counted), a damaged file, another rate, more than one channel, unequal lengths in a row.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/m.wav", np.zeros(2000), 8000)
    ...     check_audio([{"ID": "a", "mix_wav": f"{folder}/m.wav"}], 8000)
    [0.25]
    """
    check_files(rows, which)
    checked = chosen_rows(rows, which)
    files = list(dict.fromkeys(wav_files(checked) + [row["mix_wav"] for row in rows]))
    headers = dict(zip(files, in_threads(audio.probe, files, "reading headers"), strict=True))
    _refuse_other_rates(headers, sample_rate)
    _refuse_channels(headers)
    _refuse_unequal_lengths(checked, headers)
    return [headers[row["mix_wav"]].seconds for row in rows]


def check_sum(rows: Sequence[Row], max_lsb: int, limited_parts: Sequence[str] = ()) -> int:
    """Check that every mixture is the sum of its stored parts; return how many rows deviate because of a limiter.

    Rounding to 16 bit explains (parts + 1) / 2 steps, 4 for seven parts; cutting, as libsndfile does, up to a step a
    part. Where the whole sum, the sum of the sources, one of the sources s2, s3 ... or one of `limited_parts` reaches
    0.998 of full scale, a limiter may have acted: such rows are counted and not refused.

    Arguments
    ---------
    rows : sequence of dict
        With an ID and absolute `*_wav` paths.
    max_lsb : int
        Largest deviation that is accepted, in steps of 16 bit.
    limited_parts : sequence of str
        Further parts (columns without `_wav`) that the data set's generator may have limited after it had summed them.

    Raises
    ------
    UserError
        Rows deviate without a limiter: their count, the first IDs and the largest deviation.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/m.wav", np.full(2000, 0.5), 8000)
    ...     audio.write(f"{folder}/s.wav", np.full(2000, 0.25), 8000)
    ...     check_sum([{"ID": "a", **{f"{p}_wav": f"{folder}/{p[0]}.wav" for p in ("mix", "s1", "s2")}}], 4)
    0
    """
    results = list(
        in_threads(lambda row: deviation(read_parts(row), limited_parts), rows, "checking mix = sum of parts")
    )
    off = {row["ID"]: lsb for row, (lsb, limited) in zip(rows, results, strict=True) if lsb > max_lsb and not limited}
    if off:
        raise UserError(
            f"{len(off)} of {len(rows)} mixtures are not the sum of their parts: {shorten(list(off))}; the largest "
            f"deviation is {max(off.values()):.0f} LSB, allowed are {max_lsb} (verify_sum). Check these files."
        )
    return sum(lsb > max_lsb for lsb, _ in results)


def read_parts(row: Row) -> dict[str, np.ndarray]:
    """Read all stored parts of a row: the mixture first, then name -> samples [T], float64.

    Raises
    ------
    UserError
        A file that cannot be read whole, parts of unequal length.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/m.wav", np.zeros(2000), 8000)
    ...     read_parts({"ID": "a", "s1_wav": "", "mix_wav": f"{folder}/m.wav"})["mix"].shape
    (2000,)
    """
    stored = [column.removesuffix("_wav") for column in row if column.endswith("_wav") and row[column]]
    names = ["mix", *(part for part in stored if part != "mix")]
    parts = {part: audio.read_mono(row[f"{part}_wav"]).astype(np.float64) for part in names}
    if len({len(x) for x in parts.values()}) > 1:
        lengths = ", ".join(f"{part} {len(x)}" for part, x in parts.items())
        raise UserError(f"{row['ID']}: its parts are of unequal length (samples: {lengths}).")
    return parts


def deviation(parts: Mapping[str, np.ndarray], limited_parts: Sequence[str] = ()) -> tuple[float, bool]:
    """Return (largest |mix - sum of parts| in steps of 16 bit, whether a limiter may have acted).

    Arguments
    ---------
    parts : mapping
        As `read_parts` returns them, with more than the mixture.
    limited_parts : sequence of str
        As in `check_sum`.

    Example
    -------
    >>> deviation({"mix": np.array([0.5]), "s1": np.array([0.25]), "s2": np.array([0.125])})
    (4096.0, False)
    """
    stored = {part: x for part, x in parts.items() if part != "mix"}
    total = np.sum(list(stored.values()), axis=0)
    sources = [x for part, x in stored.items() if is_source(part)]
    speech = np.sum(sources, axis=0)
    suspects = [total, speech, *sources[1:], *(stored[part] for part in limited_parts if part in stored)]
    largest = np.abs(parts["mix"] - total).max() / LSB
    return float(largest), any(bool(np.abs(x).max() >= LIMITER) for x in suspects)


def is_source(part: str) -> bool:
    """Whether a part is a source: s1, s2 ...

    Example
    -------
    >>> is_source("s2"), is_source("scene")
    (True, False)
    """
    return SOURCE.fullmatch(f"{part}_wav") is not None


def in_threads(work: Callable[[Any], Any], items: Sequence[Any], what: str) -> Iterator[Any]:
    """Yield work(item) in order; the first error in order is the one that is raised.

    Example
    -------
    >>> list(in_threads(abs, [-1, 2], "counting"))
    [1, 2]
    """
    from tqdm import tqdm

    with ThreadPoolExecutor(THREADS) as pool:
        yield from tqdm(pool.map(work, items), what, len(items), disable=len(items) < PATIENCE or None)


def _refuse_other_rates(headers: Mapping[str, audio.AudioInfo], sample_rate: int) -> None:
    other = {file: head.sample_rate for file, head in headers.items() if head.sample_rate != sample_rate}
    if other:
        found = ", ".join(f"{rate} Hz" for rate in sorted(set(other.values())))
        raise UserError(
            f"{len(other)} of {len(headers)} files have another sample rate than {sample_rate} Hz ({found}): "
            f"{shorten(list(other))}. Resample the corpus, or set sample_rate."
        )


def _refuse_channels(headers: Mapping[str, audio.AudioInfo]) -> None:
    several = [file for file, head in headers.items() if head.channels != 1]
    if several:
        raise UserError(f"{len(several)} of {len(headers)} files are not mono: {shorten(several)}.")


def _refuse_unequal_lengths(rows: Sequence[Row], headers: Mapping[str, audio.AudioInfo]) -> None:
    frames = [
        {column: headers[row[column]].frames for column in row if column.endswith("_wav") and row[column]}
        for row in rows
    ]
    unequal = [(row["ID"], found) for row, found in zip(rows, frames, strict=True) if len(set(found.values())) > 1]
    if unequal:
        ID, found = unequal[0]
        lengths = ", ".join(f"{column[:-4]} {count}" for column, count in found.items())
        raise UserError(
            f"{len(unequal)} of {len(rows)} examples have parts of unequal length, the first is {ID} "
            f"(samples: {lengths}). All parts of an example must be equally long."
        )
