"""What a page says of systems in numbers: scores, gains over the input, means with their intervals.

N utterances, R trainings of a system. Tables may lack a measure or single values; these are NaN and no part of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lobes.evaluation.clusters import Estimate, estimate
from lobes.evaluation.comparison import FEWEST, GAINS, PairedDifference, clusters_of, conditions
from lobes.evaluation.intervals import MeasureMeans
from lobes.evaluation.score_tables import ScoreTable, System, speakers_of
from lobes.metrics.directions import limits
from lobes.metrics.utterance import INPUT, NEITHER_IS_BETTER
from lobes.reports.measure_names import upwards

UNTOUCHED = "untouched input"  # where no system is that: the columns that end with _in
DRAWS = 1000  # of an interval; those of differences have more
MOST_BINS = 6
LEAST_RANGE_DB = 1.0  # of the input's level, below which it explains nothing


class Scores:
    """The scores of systems, and of the untouched input, on the same utterances, in the order of the first table.

    Arguments
    ---------
    systems : sequence of System
    differences : sequence of PairedDifference
        Their measures are those of the page; without any, all measures that a table has.
    reference : str, optional
        The label of the untouched input. Without it the columns that end with `_in`, if any, are one system more.
    means : sequence of MeasureMeans
        The means over all utterances where they are known; else each utterance counts equally.

    Raises
    ------
    ValueError
        No system, equal labels, or a reference that is none of them.
    """

    def __init__(
        self,
        systems: Sequence[System],
        differences: Sequence[PairedDifference],
        reference: str | None,
        means: Sequence[MeasureMeans] = (),
    ) -> None:
        labels = [system.label for system in systems]
        if not systems or len(set(labels)) < len(systems):
            raise ValueError(f"expected systems with different labels, got {labels}")
        if reference is not None and reference not in labels:
            raise ValueError(f"reference {reference!r} is none of the systems {labels}")
        if len(systems) == 1:
            reference = None  # the input alone is what the page is about
        self.first = systems[0].tables[0]
        self.ids = list(self.first.ids)
        if reference is None and UNTOUCHED not in labels and (untouched := _untouched(systems)):
            systems, reference = [untouched, *systems], UNTOUCHED
        self.labels = [system.label for system in systems]
        self.reference = reference
        self._tables = {system.label: system.tables for system in systems}
        self._means = {one.measure: one.of for one in means}
        self._known: dict[tuple[str, str], np.ndarray] = {}
        self.speakers = speakers_of(self.first)
        self.speaker_count = len({name for names in self.speakers.values() for name in names})
        self.measures = list(dict.fromkeys(one.measure for one in differences)) or self._all_measures()

    @property
    def models(self) -> list[str]:
        """The labels without the untouched input."""
        return [label for label in self.labels if label != self.reference]

    @property
    def levels_and_measures(self) -> list[str]:
        """The measures of the page, each gain after the level that it belongs to."""
        level_of = {gain: level for level, gain in GAINS.items()}
        names = [name for measure in self.measures for name in (level_of.get(measure), measure) if name]
        return [name for name in dict.fromkeys(names) if any(self.has(label, name) for label in self.labels)]

    def has(self, label: str, measure: str) -> bool:
        """Whether a system has the measure for any utterance."""
        return bool(np.isfinite(self.of(label, measure)).any())

    def of(self, label: str, measure: str) -> np.ndarray:
        """Scores [N] of a system, means over its trainings; NaN where one of them has none."""
        return self._by_training(label, measure).mean(1)

    def of_input(self, measure: str) -> np.ndarray:
        """Scores [N] of the untouched input; zeros for a measure that is itself a gain over it."""
        if measure in GAINS.values():
            return np.zeros(len(self.ids))
        return self.of(self.reference, measure) if self.reference else np.full(len(self.ids), np.nan)

    def mean(self, label: str, measure: str, rows: Sequence[int] | None = None) -> Estimate:
        """A system's mean with its interval, over those of some utterances in which every system has a number."""
        if rows is None and label in self._means.get(measure, {}):
            return self._means[measure][label]
        common = self.common(measure)
        kept = common if rows is None else sorted(set(common) & set(rows))
        return self._estimate(self._by_training(label, measure), kept).within(*limits(measure))

    def mean_alone(self, label: str, measure: str) -> float:
        """A system's mean over all utterances as `mean` gives it, without its interval."""
        if label in self._means.get(measure, {}):
            return self._means[measure][label].mean
        kept = self.common(measure)
        return float(self.of(label, measure)[kept].mean()) if kept else np.nan

    def common(self, measure: str) -> list[int]:
        """Rows of the utterances in which every system that has the measure at all has a number."""
        columns = [self._by_training(label, measure) for label in self.labels]
        known = [np.isfinite(column).all(1) for column in columns if np.isfinite(column).any()]
        return np.flatnonzero(np.all(known, axis=0)).tolist() if known else []

    def mean_gain(self, label: str, measure: str, rows: Sequence[int] | None = None) -> Estimate:
        """How much better than the untouched input a system is: above zero is good in every measure."""
        gains = self._by_training(label, measure) - self.of_input(measure)[:, None]
        return self._estimate(upwards(measure) * gains, rows)

    def bins(self) -> list[list[int]]:
        """Rows of utterances with like levels of the input, the lowest first; none where it is unknown or the same."""
        level = self.of_input("si_sdr")
        known = np.flatnonzero(np.isfinite(level))
        count = min(MOST_BINS, len(known) // FEWEST)
        if count < 2 or np.ptp(level[known]) < LEAST_RANGE_DB:
            return []
        return [rows.tolist() for rows in np.array_split(known[np.argsort(level[known], kind="stable")], count)]

    def conditions(self) -> list[tuple[str, list[int]]]:
        """Names and rows of the conditions that hold enough utterances to say something."""
        place = {ID: row for row, ID in enumerate(self.ids)}
        return [(name, [place[ID] for ID in ids]) for name, ids in conditions(self.first) if len(ids) >= FEWEST]

    def _by_training(self, label: str, measure: str) -> np.ndarray:
        key = (label, measure)
        if key not in self._known:
            columns = [table.numbers.get(measure, {}) for table in self._tables[label]]
            self._known[key] = np.array([[column.get(ID, np.nan) for column in columns] for ID in self.ids])  # [N,R]
        return self._known[key]

    def _estimate(self, scores: np.ndarray, rows: Sequence[int] | None) -> Estimate:
        kept = [row for row in (range(len(self.ids)) if rows is None else rows) if np.isfinite(scores[row]).all()]
        found = scores[kept]
        if len(kept) < 2:
            return Estimate(float(found.mean()) if kept else np.nan, np.nan, np.nan, np.nan)
        clusters = clusters_of([self.ids[row] for row in kept], self.speakers)
        return estimate(found.mean(1), clusters, None, [found.mean(0)], draws=DRAWS, further=1)

    def _all_measures(self) -> list[str]:
        tables = [table for label in (*self.models, *self.labels) for table in self._tables[label]]
        names = dict.fromkeys(name for table in tables for name in table.numbers)
        kept = [name for name in names if not name.endswith(INPUT) and name not in NEITHER_IS_BETTER]
        return [name for name in kept if GAINS.get(name) not in kept]


def _untouched(systems: Sequence[System]) -> System | None:
    """The input as a system, from the first table that has its scores."""
    for table in (table for system in systems for table in system.tables):
        numbers = {name.removesuffix(INPUT): column for name, column in table.numbers.items() if name.endswith(INPUT)}
        if numbers:
            gains = {GAINS[name]: dict.fromkeys(table.ids, 0.0) for name in numbers if name in GAINS}
            return System(UNTOUCHED, [ScoreTable(table.place, {**numbers, **gains}, {}, table.ids)])
    return None
