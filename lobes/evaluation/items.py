"""The items of a test set: rows of a manifest, all checked before the first is separated. T samples, S sources.

Files at another rate than that of the evaluation are resampled to it, and scored there: what lies above is in no score.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from lobes.data import audio
from lobes.data.manifest import SOURCE, shorten, speaker_condition, texts_of
from lobes.data.rates import resample
from lobes.data.tables import TextTable
from lobes.errors import UserError, did_you_mean
from lobes.evaluation.conditions import DURATION, INPUT_SNR, OVERLAP, signal_conditions
from lobes.metrics.utterance import inputs_of, numbers_of

THREADS = 8
BINNED = (INPUT_SNR, DURATION, OVERLAP)  # the last one of several sources alone

Row = Mapping[str, str]
# Mixture [T], targets [T,S], conditions and improvement as in `ScoreJob`.
Item = tuple[np.ndarray, np.ndarray, Mapping[str, str], bool]

logger = logging.getLogger(__name__)


class Manifest(NamedTuple):
    """A manifest that has been read: its table, the folder at which its paths may start, and its rows.

    `task` is that of the training run whose test set it is, where its recipe names one.
    """

    path: str | os.PathLike[str]
    table: TextTable
    root: str | os.PathLike[str]
    rows: list[dict[str, str]]
    task: str | None = None


class RowLayout(Protocol):
    """How the rows of a manifest become items, where they are more than files that lie ready."""

    group_by: str

    def columns(self, row: Row) -> Sequence[str]:
        """The columns of the files that the row's item is made from."""

    def item(self, row: Row, read: Callable[[str], np.ndarray]) -> Item:
        """What is scored for a row; `read` gives the samples [T] of a path."""


class LoadedItem(NamedTuple):
    """An item's signals: mixture [T], targets [T,S]; conditions, improvement and texts as in `ScoreJob`."""

    id: str
    mix: np.ndarray
    targets: np.ndarray
    conditions: dict[str, str]
    improvement: bool
    texts: list[str]


class CheckedItems:
    """The items of a manifest: every file was read once and fits, so that each can be loaded and scored.

    Arguments
    ---------
    manifest : Manifest
    num_sources : int
        What the systems give.
    rate : int
        Of the evaluation, in Hz.
    metrics : sequence of str
        Their columns cannot group the means.
    group_by : str, optional
        A column, or a condition, whose values count equally in the means; by default that of the layout, if any.
    layout_of : callable
        From the filled columns, how rows become items; None: mix_wav and s1_wav ... are mixture and sources.

    Raises
    ------
    UserError
        Another number of sources, an unknown group, files that are missing, damaged or do not fit together.
    """

    def __init__(
        self,
        manifest: Manifest,
        num_sources: int,
        rate: int,
        metrics: Sequence[str],
        group_by: str | None = None,
        layout_of: Callable[[Row], RowLayout | None] = lambda row: None,
    ) -> None:
        filled = filled_columns(manifest.rows)
        self.manifest, self.num_sources, self.rate = manifest, num_sources, rate
        self.layout: RowLayout = layout_of(filled) or _stored(manifest.path, filled, num_sources)
        self.rows = manifest.table.resolved(manifest.root, self.layout.columns)
        binned = BINNED[: None if num_sources > 1 else -1]
        _check_group_by(manifest.path, group_by, {*self.rows[0], self.layout.group_by, *binned}, metrics)
        self.headers = _check_files(manifest.path, self.rows, self.layout, rate)
        self.by = group_by or self.layout.group_by or None

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, row: Row) -> LoadedItem:
        """The signals of a row's item at the rate of the evaluation."""
        mix, targets, known, improvement = self.layout.item(row, lambda path: read_at(path, self.rate))
        conditions = {**known, **signal_conditions(mix, targets, self.rate, row)}
        if self.by is not None and self.by not in conditions:
            conditions[self.by] = row.get(self.by, "")
        return LoadedItem(row["ID"], mix, targets, conditions, improvement, texts_of(row, targets.shape[1]))

    def chosen(self, ids: Iterable[str]) -> list[LoadedItem]:
        """Some of the items, by their IDs, in this order."""
        rows = {row["ID"]: row for row in self.rows}
        return [self.load(rows[ID]) for ID in ids]


def sources_of(row: Row) -> list[str]:
    """The columns of the sources that a manifest's row fills.

    Example
    -------
    >>> sources_of({"ID": "a", "mix_wav": "m.wav", "s1_wav": "x.wav", "s2_wav": "", "noise_wav": "n.wav"})
    ['s1_wav']
    """
    found = {int(match[1]): column for column in row if row[column] and (match := SOURCE.fullmatch(column))}
    return [found[number] for number in sorted(found)]


def filled_columns(rows: Sequence[Row]) -> dict[str, str]:
    """Each column with its first filled cell: what a manifest holds, if not in every row.

    Example
    -------
    >>> filled_columns([{"ID": "a", "s1_wav": ""}, {"ID": "b", "s1_wav": "s.wav"}])
    {'ID': 'a', 's1_wav': 's.wav'}
    """
    return {column: next((row[column] for row in rows if row.get(column)), "") for column in rows[0]}


def read_at(path: str | os.PathLike[str], rate: int) -> np.ndarray:
    """A file as one channel [T] at a rate in Hz."""
    samples, own_rate = audio.read_mono_with_rate(path)
    return resample(samples, own_rate, rate)


def headers_of(files: Iterable[str]) -> dict[str, audio.AudioInfo | str]:
    """The header of each file that can be read to its end, or what is wrong with it."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(files := list(dict.fromkeys(files)), pool.map(_header, files), strict=True))


class _Stored:
    """Mixture and sources lie ready."""

    group_by = ""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = tuple(sources)

    def columns(self, row: Row) -> Sequence[str]:
        return ("mix_wav", *self.sources)

    def item(self, row: Row, read: Callable[[str], np.ndarray]) -> Item:
        mix, *targets = (read(row[column]) for column in self.columns(row))
        return mix, np.stack(targets, 1), speaker_condition(row), True


def _stored(manifest: str | os.PathLike[str], filled: Row, num_sources: int) -> _Stored:
    """The layout of files that lie ready, whose sources must be as many as the model's."""
    sources = sources_of(filled)
    if len(sources) != num_sources:
        raise UserError(
            f"{manifest} has {len(sources)} source(s) ({', '.join(sources) or 'no s1_wav'}), the model gives "
            f"{num_sources}. Take a model for that task, or a manifest with the columns of that task."
        )
    return _Stored(sources)


def _check_group_by(
    manifest: str | os.PathLike[str], name: str | None, columns: set[str], metrics: Sequence[str]
) -> None:
    """Refuse a column that is not there, or whose values would stand where the results stand."""
    if name is None:
        return
    if name not in columns:
        raise UserError(f"{manifest} has no column {name}.{did_you_mean(name, columns)}")
    numbers = numbers_of(metrics)
    if name in {"id", "status", *numbers, *inputs_of(numbers)}:
        raise UserError(f"{manifest}: results have a column {name}, too. Rename that of the manifest to group by it.")


def _check_files(
    manifest: str | os.PathLike[str], rows: Sequence[Row], layout: RowLayout, sample_rate: int
) -> dict[str, audio.AudioInfo]:
    """Refuse what cannot be scored, all of it at once; files are read whole, since headers do not show all damage.

    Returns the header that all files of an item share, by its ID.
    """
    needed = [layout.columns(row) for row in rows]
    headers = headers_of(row[c] for row, columns in zip(rows, needed, strict=True) for c in columns if row.get(c))
    found = [(row["ID"], _problem(row, columns, headers)) for row, columns in zip(rows, needed, strict=True)]
    problems = [f"{ID}: {problem}" for ID, problem in found if problem]
    if problems:
        some = shorten(problems)
        raise UserError(f"{manifest}: {len(problems)} of {len(rows)} items cannot be scored: {some}.")
    rates = sorted({header.sample_rate for header in headers.values()} - {sample_rate})  # type: ignore[union-attr]
    if rates:
        others = ", ".join(f"{rate} Hz" for rate in rates)
        logger.warning("%s: files at %s are resampled to %d Hz and scored there", manifest, others, sample_rate)
    return {row["ID"]: headers[row[columns[0]]] for row, columns in zip(rows, needed, strict=True)}  # type: ignore[misc]


def _header(path: str) -> audio.AudioInfo | str:
    try:
        return audio.read_with_info(path)[1]
    except UserError as error:
        return str(error).rstrip(".")


def _problem(row: Row, columns: Sequence[str], headers: Mapping[str, audio.AudioInfo | str]) -> str:
    """What keeps a row from being scored, or nothing."""
    first = None
    for column in columns:
        if not row.get(column):
            return f"{column} is empty"
        header = headers[row[column]]
        if isinstance(header, str):
            return header
        first = first or (column, header)
        for what, mine, other in (
            ("Hz", header.sample_rate, first[1].sample_rate),
            ("samples", header.frames, first[1].frames),
        ):
            if mine != other:
                return f"{_in_words(first[0])} has {other} {what}, {_in_words(column)} {mine} ({row[column]})"
    return ""


def _in_words(column: str) -> str:
    return "the mixture" if column == "mix_wav" else "one of its sources" if SOURCE.fullmatch(column) else column
