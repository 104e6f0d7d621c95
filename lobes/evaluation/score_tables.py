"""Tables of scores by utterance: those of runs and evaluations, and those that other tools write."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lobes.data.manifest import SPEAKER, shorten
from lobes.data.tables import plain_number, read_table
from lobes.errors import UserError
from lobes.metrics.utterance import NUMBERS
from lobes.runs import names

IDS = ("id", "utt", "utt_id", "utterance", "utterance_id", "key", "filename", "file", "name")  # the first that is there
MISSING = {"", "nan", "-", "none", "null", "n/a"}


@dataclass(frozen=True)
class ScoreTable:
    """Utterances with their numbers and with what is known of them, in the file's order."""

    place: str
    numbers: Mapping[str, Mapping[str, float]]  # measure -> ID -> number, NaN where there is none
    words: Mapping[str, Mapping[str, str]]  # column -> ID -> text
    ids: Sequence[str]


@dataclass(frozen=True)
class System:
    """A system with the tables of its trainings, all of the same utterances."""

    label: str
    tables: Sequence[ScoreTable]


def read_systems(words: Sequence[str]) -> list[System]:
    """Read the systems of a comparison: `PLACE`, or `NAME=PLACE,PLACE…` for several trainings of one.

    A place is the folder of a run or an evaluation, or a CSV file with a column of IDs.

    Raises
    ------
    UserError
        Fewer than two systems, equal names, what is no table, or tables of other utterances.
    """
    if len(words) < 2:
        raise UserError(f"expected at least two systems to compare, got {len(words)}. Give folders or CSV files.")
    systems = [_system(word) for word in words]
    labels = _labels(systems)
    if len(set(labels)) < len(labels):
        raise UserError(f"two systems are both named {shorten(sorted(labels))}. Give names: NAME=PLACE.")
    _refuse_other_utterances([table for system in systems for table in system.tables])
    return [System(label, system.tables) for label, system in zip(labels, systems, strict=True)]


def read_scores(place: str | Path) -> ScoreTable:
    """Read one table; a column of numbers is a measure, any other says something about the utterance.

    Raises
    ------
    UserError
        If there is no table, or it has no column of IDs, equal IDs or no number.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("utt;speaker;wer\\na;p1;0,5\\nb;p2;\\n")
    ...     table = read_scores(f"{folder}/a.csv")
    >>> table.ids, dict(table.words["speaker"]), table.numbers["wer"]["a"]
    (['a', 'b'], {'a': 'p1', 'b': 'p2'}, 0.5)
    """
    path = Path(place)
    if path.is_dir():
        path = path / names.UTTERANCES
        if not path.is_file():
            raise UserError(f"{place}: no {names.UTTERANCES}, so neither a tested run nor an evaluation.")
    table = read_table(path, ())
    column = _id_column(path, list(table.rows[0]))
    ids = [row[column] for row in table.rows]
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise UserError(f"{path}: {len(twice)} IDs occur more than once: {shorten(twice)}. IDs must be unique.")
    cells = {name: [row[name] for row in table.rows] for name in table.rows[0] if name != column}
    found = {name: _numbers(values, table.separator == ";") for name, values in cells.items()}
    numbers = {
        name: dict(zip(ids, values, strict=True))
        for name, values in found.items()
        if values and not SPEAKER.fullmatch(name) and name not in _conditions(list(table.rows[0]))
    }
    if not numbers:
        raise UserError(f"{path}: no column of numbers; found {', '.join(cells) or 'the IDs alone'}.")
    words = {name: dict(zip(ids, values, strict=True)) for name, values in cells.items() if name not in numbers}
    return ScoreTable(str(place), numbers, words, ids)


def speakers_of(table: ScoreTable) -> dict[str, tuple[str, ...]]:
    """The speakers of each utterance by the columns that are named so; a cell may hold several with + between."""
    columns = [values for name, values in table.words.items() if SPEAKER.fullmatch(name)]
    found = {
        ID: tuple(dict.fromkeys(part for values in columns for part in re.split(r"[+;|,\s]+", values[ID]) if part))
        for ID in table.ids
    }
    return {ID: speakers for ID, speakers in found.items() if speakers}


def read_speakers(path: str | Path | None, table: ScoreTable) -> dict[str, tuple[str, ...]]:
    """The speakers of a table's utterances, by another table with the same IDs or by its own columns.

    Raises
    ------
    UserError
        If the other table has no such column or lacks an utterance.
    """
    if path is None:
        return speakers_of(table)
    other = read_table(path, ())
    column = _id_column(Path(path), list(other.rows[0]))
    columns = [name for name in other.rows[0] if SPEAKER.fullmatch(name)]
    if not columns:
        raise UserError(f"{path}: no column speaker, speaker1 ...; found {', '.join(other.rows[0])}.")
    words = {name: {row[column]: row[name] for row in other.rows} for name in columns}
    missing = sorted(set(table.ids) - set(words[columns[0]]))
    if missing:
        raise UserError(f"{path}: no row for {len(missing)} of {len(table.ids)} utterances: {shorten(missing)}.")
    return speakers_of(ScoreTable(str(path), {}, words, table.ids))


def _system(word: str) -> System:
    label, equals, places = word.partition("=")
    if not equals or Path(word).exists():
        return System("", [read_scores(word)])
    if not label or not all(places.split(",")):
        raise UserError(f"{word}: expected NAME=PLACE or NAME=PLACE,PLACE.")
    return System(label, [read_scores(place) for place in places.split(",")])


def _labels(systems: Sequence[System]) -> list[str]:
    """Names that were given, else the last part of the place, or the last two where that alone is not enough."""
    for parts in (1, 2, 3):
        labels = [s.label or "/".join(Path(s.tables[0].place).resolve().parts[-parts:]) for s in systems]
        labels = [label.removesuffix(".csv") for label in labels]
        if len(set(labels)) == len(labels):
            break
    return labels


def _refuse_other_utterances(tables: Sequence[ScoreTable]) -> None:
    first = tables[0]
    for other in tables[1:]:
        lacking = [(first, other), (other, first)]
        found = [
            f"{len(missing)} of {one.place} are not in {two.place}: {shorten(missing)}"
            for one, two in lacking
            if (missing := sorted(set(one.ids) - set(two.ids)))
        ]
        if found:
            raise UserError(f"the tables hold different utterances: {'; '.join(found)}. Test both on the same set.")


def _id_column(path: Path, columns: Sequence[str]) -> str:
    lower = {name.lower(): name for name in reversed(columns)}
    for name in IDS:
        if name in lower:
            return lower[name]
    raise UserError(f"{path}: no column of IDs ({', '.join(IDS)}); found {', '.join(columns)}.")


def _conditions(columns: Sequence[str]) -> list[str]:
    """The columns before the numbers of a table of ours: whatever they hold, they are no measures."""
    ours = set(NUMBERS) <= set(columns) and columns[-1] == "status"
    return list(columns[: columns.index(NUMBERS[0])]) if ours else []


def _numbers(cells: Sequence[str], decimal_comma: bool) -> list[float]:
    """The cells as numbers; nothing where one is a word or all are empty."""
    try:
        values = [
            math.nan if cell.strip().lower() in MISSING else float(plain_number(cell, decimal_comma)) for cell in cells
        ]
    except ValueError:
        return []
    values = [value if math.isfinite(value) else math.nan for value in values]
    return values if any(map(math.isfinite, values)) else []
