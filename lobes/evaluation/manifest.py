"""Evaluate a trained model on a manifest: any data set, whatever it was trained on. T samples, S sources.

Files at another rate than the model's are resampled to it, and scored there: what lies above is in no score.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lobes.data import audio
from lobes.data.manifest import SOURCE, shorten, speaker_condition, texts_of
from lobes.data.paths import PLACEHOLDER
from lobes.data.rates import resample
from lobes.data.tables import TextTable, read_table
from lobes.errors import UserError, did_you_mean
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.recognisers import POCKETSPHINX, check_recogniser
from lobes.evaluation.results import score_and_write
from lobes.metrics.utterance import METRICS, check_metrics, inputs_of, numbers_of

THREADS = 8

Row = Mapping[str, str]
# Mixture [T], targets [T,S], conditions and improvement as in `ScoreJob`.
Item = tuple[np.ndarray, np.ndarray, Mapping[str, str], bool]
Separate = Callable[[np.ndarray], np.ndarray]  # a mixture [T] to its sources [T,S]

logger = logging.getLogger(__name__)


class Manifest(NamedTuple):
    """A manifest that has been read: its table, the folder at which its paths may start, and its rows."""

    path: str | os.PathLike[str]
    table: TextTable
    root: str | os.PathLike[str]
    rows: list[dict[str, str]]


class RowLayout(Protocol):
    """How the rows of a manifest become items, where they are more than files that lie ready."""

    group_by: str

    def columns(self, row: Row) -> Sequence[str]:
        """The columns of the files that the row's item is made from."""

    def item(self, row: Row, read: Callable[[str], np.ndarray]) -> Item:
        """What is scored for a row; `read` gives the samples [T] of a path."""


def evaluate(
    separate: Separate,
    num_sources: int,
    sample_rate: int,
    manifest: str | os.PathLike[str] | Manifest,
    out_folder: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] = METRICS,
    workers: int | None = None,
    audio_items: int = 0,
    group_by: str | None = None,
    layout_of: Callable[[Row], RowLayout | None] = lambda row: None,
    recogniser: str = POCKETSPHINX,
    trust: bool = False,
) -> dict[str, Any]:
    """Separate every mixture of a manifest and score it, and the untouched mixture, against its sources.

    Metrics, manifest and all files are checked before the first item is separated.

    Arguments
    ---------
    separate : callable
        The model: a mixture [T] at `sample_rate`, float32, to its sources [T,S].
    num_sources, sample_rate : int
        What the model gives, and the rate in Hz that it wants.
    manifest : str, PathLike or Manifest
        A table with ID, mix_wav, s1_wav ..., for wer also text or s1_text ...; other columns are not read. Paths are
        relative to its folder. What `open_manifest` has read is not read again, and `data_root` is its own.
    out_folder : str or PathLike
        Gets `per_utterance.csv`, `summary.json` and `audio/`.
    data_root : str or PathLike, optional
        What `$data_root` in the manifest stands for; the manifest's folder if not given.
    metrics : sequence of str
        As in `lobes.metrics.score`.
    workers : int, optional
        Scoring processes, as in `lobes.evaluation.scoring.score_many`.
    audio_items : int
        So many items are written as audio.
    group_by : str, optional
        A column of the manifest whose values count equally in the means; by default that of the layout, if any.
    layout_of : callable
        From the filled columns, how rows become items; None: mix_wav and s1_wav ... are mixture and sources.
    recogniser, trust
        For wer, as in `ScoreJob`.

    Returns
    -------
    dict
        The summary of `lobes.evaluation.summary.summarise`.

    Raises
    ------
    UserError
        Unknown metric, another number of sources than the model's, missing or damaged files, sources of another length
        or rate than their mixture.
    """
    check_metrics(metrics)
    more = {"recogniser": recogniser} if "wer" in metrics else {}
    if more:
        check_recogniser(recogniser, trust)
    opened = manifest if isinstance(manifest, Manifest) else open_manifest(manifest, data_root)
    filled = filled_columns(opened.rows)
    layout: RowLayout = layout_of(filled) or _stored(opened.path, filled, num_sources)
    rows = opened.table.resolved(opened.root, layout.columns)
    _check_group_by(opened.path, group_by, {*rows[0], layout.group_by}, metrics)
    _check_files(opened.path, rows, layout, sample_rate)
    out = Path(out_folder)
    out.mkdir(parents=True, exist_ok=True)
    by = group_by or layout.group_by or None
    jobs = _jobs(rows, layout, separate, sample_rate, metrics, by)
    jobs = (replace(job, recogniser=recogniser, trust=trust) for job in jobs)
    return score_and_write(jobs, out, audio_items, workers, by, len(rows), **more)


def open_manifest(manifest: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None) -> Manifest:
    """Read the table of a manifest, before a model is loaded; no audio file is read.

    `rows` have paths of the mixture and the sources that can be opened; those of other columns are as they are written.

    Raises
    ------
    UserError
        No manifest, a column or a cell is missing, no `data_root` where the paths need one.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "test.csv").write_text("ID,mix_wav,s1_wav\\na,m.wav,s.wav\\n")
    ...     open_manifest(f"{folder}/test.csv").rows[0]["mix_wav"] == f"{folder}/m.wav"
    True
    """
    if os.path.isdir(manifest):
        inside = sorted(path.name for path in Path(manifest).glob("*.csv"))
        found = f"it holds {shorten(inside)}" if inside else "it holds no CSV file"
        raise UserError(f"{manifest}: is a folder, expected a manifest, a CSV with ID, mix_wav, s1_wav ...; {found}.")
    if data_root is not None and not os.path.isdir(data_root):
        raise UserError(f"--data-root {data_root}: no such folder.")
    root = os.path.dirname(os.path.abspath(manifest)) if data_root is None else data_root
    table = read_table(manifest, ("ID", "mix_wav"), root)
    rows = table.resolved(root, lambda row: ["mix_wav"])
    needs_root = any(PLACEHOLDER.match(row["mix_wav"]) for row in table.rows)
    if data_root is None and needs_root and not any(os.path.isfile(row["mix_wav"]) for row in rows):
        raise UserError(
            f"{manifest}: its paths begin with $data_root, and the files are not in its own folder. Add --data-root "
            "FOLDER, the data folder that it was prepared from."
        )
    return Manifest(manifest, table, root, table.resolved(root, _by_default))


def _by_default(row: Row) -> list[str]:
    return ["mix_wav", *sources_of(row)]


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


def _check_files(manifest: str | os.PathLike[str], rows: Sequence[Row], layout: RowLayout, sample_rate: int) -> None:
    """Refuse what cannot be scored, all of it at once; files are read whole, since headers do not show all damage."""
    needed = [layout.columns(row) for row in rows]
    files = [row[c] for row, columns in zip(rows, needed, strict=True) for c in columns if row.get(c)]
    with ThreadPoolExecutor(THREADS) as pool:
        headers = dict(zip(files := list(dict.fromkeys(files)), pool.map(_header, files), strict=True))
    found = [(row["ID"], _problem(row, columns, headers)) for row, columns in zip(rows, needed, strict=True)]
    problems = [f"{ID}: {problem}" for ID, problem in found if problem]
    if problems:
        some = shorten(problems)
        raise UserError(f"{manifest}: {len(problems)} of {len(rows)} items cannot be scored: {some}.")
    rates = sorted({header.sample_rate for header in headers.values()} - {sample_rate})  # type: ignore[union-attr]
    if rates:
        others = ", ".join(f"{rate} Hz" for rate in rates)
        logger.warning("%s: files at %s are resampled to %d Hz and scored there", manifest, others, sample_rate)


def _header(path: str) -> audio.AudioInfo | str:
    """The header of a file that can be read to its end, or what is wrong with it."""
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


def _jobs(
    rows: Sequence[Row], layout: RowLayout, separate: Separate, rate: int, metrics: Sequence[str], by: str | None
) -> Iterator[ScoreJob]:
    for row in rows:
        mix, targets, conditions, improvement = layout.item(row, lambda path: _read(path, rate))
        if by is not None and by not in conditions:
            conditions = {**conditions, by: row[by]}
        estimates = separate(mix)
        texts = texts_of(row, targets.shape[1])
        yield ScoreJob(row["ID"], estimates, targets, mix, rate, metrics, improvement, conditions, texts=texts)


def _read(path: str, rate: int) -> np.ndarray:
    """One channel [T] at the model's rate."""
    samples, own_rate = audio.read_mono_with_rate(path)
    return resample(samples, own_rate, rate)
