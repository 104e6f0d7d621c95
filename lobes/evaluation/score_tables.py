"""Tables of scores by utterance: those of runs and evaluations, and those that other tools write."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lobes.data.manifest import SPEAKER, shorten
from lobes.data.tables import read_table
from lobes.errors import UserError
from lobes.evaluation.score_cells import has_decimal_commas, numbers_in
from lobes.metrics.directions import our_name
from lobes.metrics.utterance import NUMBERS
from lobes.runs import names

# The first that is there, without regard to case, blanks and hyphens.
IDS = ("id", "utt", "uttid", "utterance", "utteranceid", "key", "filename", "file", "name")
SHARES = ("wer", "cer", "stoi", "estoi")  # which other tools also write in per cent
LARGEST_SHARE = 3.0  # the median of the utterances with errors has no more of them than three for a word
INDEX = re.compile(r"unnamed: ?\d+", re.IGNORECASE)  # of pandas


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
    tables = [table for system in systems for table in system.tables]
    _refuse_other_utterances(tables)
    _refuse_other_units(tables)
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
            raise UserError(
                f"{place}: no {names.UTTERANCES}, so neither a tested run nor an evaluation{_inside(path.parent)}."
            )
    table = read_table(path, ())
    columns = list(table.rows[0])
    column = _id_column(path, columns)
    ids = [row[column] for row in table.rows]
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise UserError(f"{path}: {len(twice)} IDs occur more than once: {shorten(twice)}. IDs must be unique.")
    others = [name for name in columns if name != column and not INDEX.fullmatch(name)]
    cells = {name: {row[column]: row[name] for row in table.rows} for name in others}
    numbers = _measures(str(path), cells, _conditions(columns), table.separator == ";")
    if not numbers:
        raise UserError(f"{path}: no column of numbers; found {', '.join(cells) or 'the IDs alone'}.")
    words = {name: values for name, values in cells.items() if not {name, our_name(name)} & set(numbers)}
    return ScoreTable(str(place), numbers, words, ids)


def _inside(folder: Path) -> str:
    """Where an evaluation of several systems has their tables."""
    found = sorted(path.parent.name for path in folder.glob(f"*/{names.UTTERANCES}"))
    return f" of one system. Give folders in it: {shorten(found)}" if found else ""


def together(tables: Sequence[ScoreTable]) -> ScoreTable:
    """What tables of the same utterances say of them: of a column in several of them, the first one's.

    Example
    -------
    >>> one, other = (ScoreTable(name, {}, {name: {"u": "x"}}, ["u"]) for name in ("room", "speaker"))
    >>> list(together([one, other]).words)
    ['room', 'speaker']
    """
    numbers = {name: values for table in reversed(tables) for name, values in table.numbers.items()}
    columns = [name for table in tables for name in table.words]
    words = {name: next(table.words[name] for table in tables if name in table.words) for name in columns}
    return ScoreTable(tables[0].place, numbers, words, tables[0].ids)


def speakers_of(table: ScoreTable) -> dict[str, tuple[str, ...]]:
    """The speakers of each utterance by the columns that are named so; a cell may hold several with + between.

    A name may have blanks: `speaker 1` and `speaker 2` are two speakers.
    """
    columns = [values for name, values in table.words.items() if SPEAKER.fullmatch(name)]
    found = {
        ID: tuple(
            dict.fromkeys(
                part.strip() for values in columns for part in re.split(r"[+;|,]", values[ID]) if part.strip()
            )
        )
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
    found = [places] if Path(places).exists() else places.split(",")
    if not label or not all(found):
        raise UserError(f"{word}: expected NAME=PLACE or NAME=PLACE,PLACE.")
    if len({Path(place).resolve() for place in found}) < len(found):
        raise UserError(f"{word}: a place is given twice, and counts as one training. Leave one of them out.")
    return System(label, [read_scores(place) for place in found])


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


def _refuse_other_units(tables: Sequence[ScoreTable]) -> None:
    """Refuse shares in one table and per cent in another: their difference would say which tool wrote the table."""
    for measure in SHARES:
        typical = {table.place: _median(table.numbers[measure]) for table in tables if measure in table.numbers}
        large = [place for place, value in typical.items() if value > LARGEST_SHARE]
        small = [place for place, value in typical.items() if value <= LARGEST_SHARE]
        if large and small:
            raise UserError(
                f"{measure} seems to be in per cent in {large[0]} and a share in {small[0]}: where it is not zero, the "
                f"medians are {typical[large[0]]:g} and {typical[small[0]]:g}. Write both in the same unit."
            )


def _median(values: Mapping[str, float]) -> float:
    """Of the numbers that are not zero; NaN where there is none."""
    found = [value for value in values.values() if value and math.isfinite(value)]
    return median(found) if found else math.nan


def _id_column(path: Path, columns: Sequence[str]) -> str:
    plain = {re.sub(r"[\W_]+", "", name).lower(): name for name in reversed(columns)}
    for name in IDS:
        if name in plain:
            return plain[name]
    raise UserError(f"{path}: no column of IDs ({', '.join(IDS)}); found {', '.join(columns)}.")


def _conditions(columns: Sequence[str]) -> list[str]:
    """The columns before the numbers of a table of ours: whatever they hold, they are no measures."""
    ours = set(NUMBERS) <= set(columns) and columns[-1] == "status"
    return list(columns[: columns.index(NUMBERS[0])]) if ours else []


def _measures(
    place: str, columns: Mapping[str, Mapping[str, str]], conditions: Sequence[str], decimal_comma: bool
) -> dict[str, dict[str, float]]:
    """The columns of numbers by the names that they have here; two that would share one keep their own."""
    scores = {name: cells for name, cells in columns.items() if not SPEAKER.fullmatch(name) and name not in conditions}
    comma = decimal_comma or has_decimal_commas({name: list(cells.values()) for name, cells in scores.items()})
    found = {name: numbers_in(place, name, cells, comma) for name, cells in scores.items()}
    names_here = [our_name(name) for name in columns]
    return {
        our_name(name) if names_here.count(our_name(name)) == 1 else name: values
        for name, values in found.items()
        if values
    }
