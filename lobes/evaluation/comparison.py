"""Whether one system is better than another on the same utterances: paired differences, never two means alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy as np

from lobes.data.manifest import SPEAKER
from lobes.errors import UserError, did_you_mean
from lobes.evaluation.clusters import FURTHER, Clusters, Estimate, estimate, holm
from lobes.evaluation.conditions import INPUT_SNR, in_order
from lobes.evaluation.score_tables import ScoreTable, System, speakers_of, together
from lobes.metrics import directions
from lobes.metrics.utterance import INPUT, NEITHER_IS_BETTER

# Of one input, so that their differences are those of the scores; the gains leave out what cannot gain.
GAINS = {"si_sdr": "si_sdri", "sdr": "sdri"}
BINNED = "si_sdr" + INPUT  # its quarters are conditions, too
MOST_VALUES = 12  # of a column that is a condition
FEWEST = 8  # utterances of a condition
ALL = "all"


@dataclass(frozen=True)
class PairedDifference:
    """First minus second in one measure, over the utterances in which both have it."""

    first: str
    second: str
    measure: str
    condition: str
    n: int
    left_out: int  # utterances in which one of the two has no number
    speakers: int  # 0 where nothing says who speaks
    estimate: Estimate
    p_all: float  # p that holds for all questions of the comparison; NaN for single conditions
    wins: float  # share of utterances in which the first is better, ties count half; NaN where neither is
    level: float

    @property
    def better(self) -> str:
        """The system that is better; empty where no difference is shown."""
        found = self.estimate
        sign = directions.better(self.measure)
        if not (found.low > 0 or found.high < 0) or not self.p_all < 1 - self.level or not sign:
            return ""
        return self.first if sign * found.mean > 0 else self.second


def compare(
    systems: Sequence[System],
    measures: Sequence[str] = (),
    speakers: Mapping[str, Sequence[str]] | None = None,
    group_by: str | None = None,
    level: float = 0.95,
    against: Sequence[str] = (),
) -> list[PairedDifference]:
    """Compare all pairs of systems in all measures, over all utterances and by condition.

    Arguments
    ---------
    systems : sequence of System
        From `lobes.evaluation.score_tables.read_systems`.
    measures : sequence of str
        By default all that every table has, without those of the input and those in which nothing is better.
    speakers : mapping, optional
        ID -> the speakers of the utterance. By default what the columns of the tables say, and where they say nothing
        each utterance is a speaker of its own.
    group_by : str, optional
        A column whose values count equally in the means.
    level : float
        Of the intervals. A difference is shown if its interval excludes zero and p, which holds for all pairs and
        measures together (Holm), is below 1 - level.
    against : sequence of str
        Labels of systems: only pairs with one of them count, and differences are the other system minus this one. Of a
        pair of two of them, the earlier one is subtracted.

    Returns
    -------
    list of PairedDifference

    Raises
    ------
    UserError
        A measure or column that the tables do not have.

    Example
    -------
    >>> speaker = {f"u{n}": f"s{n % 12}" for n in range(60)}
    >>> def table(gain):
    ...     scores = {f"u{n}": n % 7 + gain * (1 + n % 3) for n in range(60)}
    ...     return ScoreTable("t", {"pesq": scores}, {"speaker": speaker}, list(scores))
    >>> found = compare([System("a", [table(0.5)]), System("b", [table(0.0)])])
    >>> found[0].better, round(found[0].estimate.mean, 6), found[0].speakers
    ('a', 1.0, 12)
    """
    if not 0.5 <= level < 1:
        raise UserError(f"level must be at least 0.5 and below 1, got {level:g}.")
    tables = [table for system in systems for table in system.tables]
    chosen = measures_of(tables, measures)
    facts = together(tables)
    known = speakers if speakers is not None else speakers_of(facts)
    groups = _groups(facts, group_by)
    twos = _pairs_with(against, systems) if against else combinations(systems, 2)
    clusters = lru_cache(maxsize=1)(
        lambda ids: clusters_of(ids, known)
    )  # the same of all pairs, one condition at a time
    pairs = [_Pair(*two, measure, known, clusters, groups, level) for two in twos for measure in chosen]
    overall = [pair.over(ALL, facts.ids) for pair in pairs]
    adjusted = holm([difference.estimate.p for difference in overall])
    parts = [(name, ids) for name, ids in conditions(facts) if len(ids) >= FEWEST]
    by_part = [[pair.over(name, ids) for pair in pairs] for name, ids in parts]
    return [
        *(replace(difference, p_all=p) for difference, p in zip(overall, adjusted, strict=True)),
        *(difference for of_pair in zip(*by_part, strict=True) for difference in of_pair),
    ]


def conditions(table: ScoreTable) -> Iterator[tuple[str, list[str]]]:
    """The conditions that a table knows, with their utterances: values of columns, or quarters of the input's level."""
    binned = False
    for column, values in table.words.items():
        found = {value for value in values.values() if value}
        if column != "status" and not SPEAKER.fullmatch(column) and 1 < len(found) <= MOST_VALUES:
            binned = binned or column == INPUT_SNR
            for value in in_order(list(found)):
                yield f"{column} {value}", [ID for ID in table.ids if values[ID] == value]
    if not binned:
        yield from _quarters(table)


def _quarters(table: ScoreTable) -> Iterator[tuple[str, list[str]]]:
    levels = {ID: value for ID, value in table.numbers.get(BINNED, {}).items() if np.isfinite(value)}
    if len(levels) >= 4 * FEWEST:
        cuts = np.quantile(list(levels.values()), [0.25, 0.5, 0.75])
        bins = {ID: int(np.searchsorted(cuts, value)) for ID, value in levels.items()}
        ends = ["", *(f"{cut:.1f}" for cut in cuts), ""]
        for number in range(4):
            name = f"input {ends[number] or 'below'} to {ends[number + 1]} dB"
            name = name.replace("below to", "below").replace(" to  dB", " dB and above")
            yield name, [ID for ID in levels if bins[ID] == number]


class _Pair:
    """Two systems in one measure."""

    def __init__(
        self,
        first: System,
        second: System,
        measure: str,
        speakers: Mapping[str, Sequence[str]],
        clusters: Callable[[tuple[str, ...]], Clusters],
        groups: Mapping[str, str],
        level: float,
    ) -> None:
        self.first, self.second, self.measure = first, second, measure
        self.speakers, self.clusters, self.groups, self.level = speakers, clusters, groups, level

    def over(self, condition: str, ids: Sequence[str]) -> PairedDifference:
        """The difference over some of the utterances."""
        ours, theirs = (self._scores(system, ids) for system in (self.first, self.second))  # [N,R]
        both = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
        kept = [ID for ID, there in zip(ids, both, strict=True) if there]
        if len(kept) < 2:
            nothing = Estimate(np.nan, np.nan, np.nan, 1.0)
            return self._difference(condition, kept, len(ids), nothing, np.nan)
        ours, theirs = ours[both], theirs[both]
        clusters = self.clusters(tuple(kept))
        share = weights_of(kept, self.groups)
        values = ours.mean(1) - theirs.mean(1)
        further = FURTHER if condition == ALL else 1  # p of a single condition is not corrected
        found = estimate(values, clusters, share, [share @ ours, share @ theirs], self.level, further=further)
        sign = directions.better(self.measure)
        wins = float(share @ (np.sign(sign * values) + 1) / 2) if sign else np.nan
        return self._difference(condition, kept, len(ids), found, wins)

    def _difference(
        self, condition: str, kept: Sequence[str], asked: int, found: Estimate, wins: float
    ) -> PairedDifference:
        speakers = len({name for ID in kept for name in self.speakers.get(ID, ())})
        return PairedDifference(
            self.first.label, self.second.label, self.measure, condition, len(kept), asked - len(kept), speakers, found,
            np.nan, wins, self.level,
        )  # fmt: skip

    def _scores(self, system: System, ids: Sequence[str]) -> np.ndarray:
        return np.array([[table.numbers[self.measure][ID] for table in system.tables] for ID in ids]).reshape(
            len(ids), -1
        )


def clusters_of(ids: Sequence[str], speakers: Mapping[str, Sequence[str]]) -> Clusters:
    """Who speaks in which of the utterances; where that is unknown, or one speaker speaks in all, each stands alone.

    Example
    -------
    >>> clusters_of(["a", "b", "c"], {"a": ["anna"], "b": ["anna"]}).count
    2
    """
    clusters = Clusters([tuple(speakers.get(ID) or (f"utterance {ID}",)) for ID in ids])
    return clusters if clusters.count > 1 else Clusters([(ID,) for ID in ids])  # nothing is known of other speakers


def several_speakers(speakers: Mapping[str, Sequence[str]]) -> bool:
    """Whether an interval can be that of speakers: one alone says nothing of others.

    Example
    -------
    >>> several_speakers({"a": ["anna"], "b": ["anna"]}), several_speakers({"a": ["anna", "jan"]})
    (False, True)
    """
    return len({name for names in speakers.values() for name in names}) > 1


def _pairs_with(labels: Sequence[str], systems: Sequence[System]) -> Iterator[tuple[System, System]]:
    """Each system with those of these labels, which come second; each pair once."""
    by_label = {system.label: system for system in systems}
    for number, label in enumerate(labels):
        yield from ((system, by_label[label]) for system in systems if system.label not in labels[: number + 1])


def measures_of(tables: Sequence[ScoreTable], wanted: Sequence[str] = ()) -> list[str]:
    """The measures in which tables are compared: those asked for, or all that every table has and that can be better.

    Raises
    ------
    UserError
        One that not every table has, or none at all.
    """
    common = [name for name in tables[0].numbers if all(name in table.numbers for table in tables)]
    wanted = [name if name in common else directions.our_name(name) for name in wanted]
    for name in wanted:
        if name not in common:
            raise UserError(f"not every table has the measure {name}.{did_you_mean(name, common)}")
    if wanted:
        return wanted
    left_out = {name for name in common if name.endswith(INPUT) or GAINS.get(name) in common} | NEITHER_IS_BETTER
    chosen = [name for name in common if name not in left_out]
    if not chosen:
        raise UserError("the tables have no measure in common.")
    return chosen


def weights_of(ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """What each utterance counts in a mean: groups count equally, by those of their utterances that are there.

    Example
    -------
    >>> weights_of(["a", "b", "c"], {"a": "SER", "b": "SE", "c": "SE"}).tolist()
    [0.5, 0.25, 0.25]
    """
    of = [groups.get(ID, "") for ID in ids]
    sizes = Counter(of)
    return np.array([1.0 / (len(sizes) * sizes[group]) for group in of])


def _groups(table: ScoreTable, group_by: str | None) -> Mapping[str, str]:
    """The group of each utterance; none without a column, so that all are one group."""
    if group_by is None:
        return {}
    if group_by not in table.words:
        raise UserError(f"{table.place}: no column {group_by}.{did_you_mean(group_by, list(table.words))}")
    return table.words[group_by]
