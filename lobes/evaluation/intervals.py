"""Means of systems with intervals, over the utterances in which all of them have a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lobes.evaluation.clusters import Estimate, estimate
from lobes.evaluation.comparison import clusters_of, weights_of
from lobes.evaluation.score_tables import System, speakers_of
from lobes.evaluation.summary import RATES
from lobes.metrics.directions import limits


@dataclass(frozen=True)
class MeasureMeans:
    """The means of all systems in one measure, over the same n utterances; p of these estimates means nothing."""

    measure: str
    n: int
    left_out: int  # utterances in which a system has no number
    of: Mapping[str, Estimate]  # by label


def means_of(
    systems: Sequence[System], measures: Sequence[str], group_by: str | None = None, level: float = 0.95
) -> list[MeasureMeans]:
    """The means of systems and their intervals, by a bootstrap of speakers.

    Arguments
    ---------
    systems : sequence of System
        With one table each, of the same utterances. Who speaks is said by the first one's columns.
    measures : sequence of str
        That all tables have. A word error rate is the sum of the errors by the sum of the words.
    group_by : str, optional
        A condition whose values count equally in the means.
    level : float
        Of the intervals.

    Returns
    -------
    list of MeasureMeans

    Example
    -------
    >>> from lobes.evaluation.score_tables import ScoreTable
    >>> table = ScoreTable("a", {"pesq": {f"u{n}": n % 3 for n in range(30)}}, {}, [f"u{n}" for n in range(30)])
    >>> found = means_of([System("a", [table])], ["pesq"])[0]
    >>> found.n, round(found.of["a"].mean, 6), found.of["a"].low < 1 < found.of["a"].high
    (30, 1.0, True)
    """
    return [_means(systems, measure, group_by, level) for measure in measures]


def _means(systems: Sequence[System], measure: str, group_by: str | None, level: float) -> MeasureMeans:
    tables = {system.label: system.tables[0] for system in systems}
    first = next(iter(tables.values()))
    scores = np.array([[table.numbers[measure][ID] for table in tables.values()] for ID in first.ids])  # [N,systems]
    words = _words(systems, measure)
    there = np.isfinite(scores).all(1) & (np.array([words.get(ID, 0.0) for ID in first.ids]) > 0 if words else True)
    kept = [ID for ID, both in zip(first.ids, there, strict=True) if both]
    if len(kept) < 2:
        nothing = Estimate(np.nan, np.nan, np.nan, 1.0)
        return MeasureMeans(measure, len(kept), len(first.ids) - len(kept), dict.fromkeys(tables, nothing))
    weights = np.array([words[ID] for ID in kept]) if words else weights_of(kept, first.words.get(group_by or "", {}))
    clusters = clusters_of(kept, speakers_of(first))
    columns = zip(tables, scores[there].T, strict=True)
    found = {
        label: estimate(values, clusters, weights, level=level, further=1).within(*limits(measure))
        for label, values in columns
    }
    return MeasureMeans(measure, len(kept), len(first.ids) - len(kept), found)


def _words(systems: Sequence[System], measure: str) -> Mapping[str, float]:
    """What an utterance counts in a rate: its words."""
    name = RATES.get(measure, ("", ""))[1]
    return next((system.tables[0].numbers[name] for system in systems if name in system.tables[0].numbers), {})
