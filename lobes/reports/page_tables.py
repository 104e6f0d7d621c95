"""The tables of an evaluation's page: systems by measure, pairs, conditions, utterances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lobes.data.manifest import SPEAKER
from lobes.evaluation.clusters import Estimate
from lobes.evaluation.comparison import ALL, MOST_VALUES, PairedDifference
from lobes.reports import differences as pairs
from lobes.reports.looks import Look
from lobes.reports.measure_names import digits, direction, heading, upwards, with_unit
from lobes.reports.page_answer import Verdicts
from lobes.reports.page_scores import Scores
from lobes.reports.tables import show

MOST_CELLS = 40_000  # of the table of utterances, which then has about half a megabyte
IN_WORDS = ("first", "second", "measure", "verdict")
MOST_MISSING = 8  # sentences about values that are not there


@dataclass(frozen=True)
class Column:
    """A heading; `note` stands in small letters below it."""

    name: str
    note: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell's text, what stands below it in small letters, and in a word what is special about it."""

    text: str
    detail: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: the cell that names it, the others, and how its system is drawn."""

    name: str
    cells: Sequence[Cell]
    look: Look | None = None
    note: str = ""


@dataclass(frozen=True)
class SortableTable:
    """A table whose rows can be sorted by each column; the first column names the row."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""


def systems_table(verdicts: Verdicts, looks: dict[str, Look]) -> SortableTable:
    """Systems by measure: means with intervals, the best ones marked in words."""
    scores = verdicts.scores
    measures = scores.levels_and_measures
    marks = {measure: verdicts.marks(measure) for measure in measures}
    rows = [
        Row(
            label,
            [mean_cell(scores.mean(label, measure), measure, marks[measure].get(label, "")) for measure in measures],
            looks[label],
            "the untouched input" if label == scores.reference and label != "untouched input" else "",
        )
        for label in scores.labels
    ]
    columns = [Column("system", numeric=False), *(Column(with_unit(name), direction(name)) for name in measures)]
    return SortableTable("Means with 95 % intervals", columns, rows, " ".join(_missing(scores, measures)))


def pairs_table(differences: Sequence[PairedDifference]) -> SortableTable | None:
    """All pairs of systems and measures with their paired differences."""
    overall = [one for one in differences if one.condition == ALL]
    if not overall:
        return None
    first, *names = sorted(pairs.HEADER, key=lambda name: name not in IN_WORDS)  # verdicts need no scrolling
    columns = [Column(name, numeric=name not in IN_WORDS) for name in (first, *names)]
    cells = [dict(zip(pairs.HEADER, pairs.cells(one), strict=True)) for one in overall]
    cells = [{**found, "measure": heading(found["measure"])} for found in cells]
    rows = [Row(found[first], [Cell(found[name]) for name in names]) for found in cells]
    return SortableTable("Paired differences: first minus second on the same utterances", columns, rows)


def condition_tables(scores: Scores) -> list[SortableTable]:
    """For each measure the means of all systems by condition; the best mean of a condition is marked."""
    known = scores.conditions()
    return [
        SortableTable(
            f"{with_unit(measure)} by condition ({direction(measure)})",
            [Column("condition", numeric=False), Column("n"), *(Column(label) for label in scores.labels)],
            [Row(name, [Cell(str(len(rows))), *_of_condition(scores, measure, rows)]) for name, rows in known],
        )
        for measure in scores.measures
        if known and any(scores.has(label, measure) for label in scores.labels)
    ]


def utterances_table(scores: Scores) -> SortableTable:
    """One row for each utterance; of the measures only as many as the page can carry, the first ones."""
    measures = [name for name in scores.measures if any(scores.has(label, name) for label in scores.labels)]
    shown = measures[: max(1, MOST_CELLS // (max(1, len(scores.ids)) * len(scores.labels)))]
    words, level = list(_word_columns(scores)), scores.of_input("si_sdr")
    columns = [Column("utterance", numeric=False), *(Column(name, numeric=False) for name in words)]
    columns += [Column("input SI-SDR in dB")] if np.isfinite(level).any() else []
    columns += [Column(heading(measure), label) for measure in shown for label in scores.labels]
    numbers = [(scores.of(label, measure), digits(measure)) for measure in shown for label in scores.labels]
    numbers = [(level, 1), *numbers] if np.isfinite(level).any() else numbers
    rows = [
        Row(
            ID,
            [
                *(Cell(scores.first.words[name][ID]) for name in words),
                *(Cell(show(values[place], count)) for values, count in numbers),
            ],
        )
        for place, ID in enumerate(scores.ids)
    ]
    left_out = [heading(measure) for measure in measures if measure not in shown]
    note = f"Left out here, since the page would become too large: {', '.join(left_out)}." if left_out else ""
    return SortableTable("Scores of each utterance", columns, rows, note)


def mean_cell(found: Estimate, measure: str, mark: str = "") -> Cell:
    """A mean above its interval; a single utterance has none."""
    mean, low, high = (show(value, digits(measure)) for value in found[:3])
    return Cell(mean, "" if low == "-" else f"[{low}, {high}]", mark)


def _of_condition(scores: Scores, measure: str, rows: Sequence[int]) -> Iterator[Cell]:
    found = [scores.mean(label, measure, rows) for label in scores.labels]
    best = max((upwards(measure) * one.mean for one in found if np.isfinite(one.mean)), default=np.nan)
    for one in found:
        several = len(scores.labels) > 1
        yield mean_cell(one, measure, "best mean" if several and upwards(measure) * one.mean == best else "")


def _missing(scores: Scores, measures: Sequence[str]) -> list[str]:
    """Which means leave utterances out."""
    lacking = [
        (label, measure, int((~np.isfinite(scores.of(label, measure))).sum()))
        for label in scores.labels
        for measure in measures
    ]
    said = [
        f"{label} has no {heading(measure)} for {count} of {len(scores.ids)} utterances."
        for label, measure, count in lacking
        if count
    ]
    more = [f"{len(said) - MOST_MISSING} more lack values."] if len(said) > MOST_MISSING else []
    return [*said[:MOST_MISSING], *more]


def _word_columns(scores: Scores) -> Iterator[str]:
    """What is known of utterances in words: speakers, and columns of few values."""
    for name, values in scores.first.words.items():
        different = len(set(values.values()))
        if name != "status" and 1 < different and (SPEAKER.fullmatch(name) or different <= MOST_VALUES):
            yield name
