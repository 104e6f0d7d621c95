"""What paired differences say, in words: which system is better in what, and where no difference is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lobes.evaluation.clusters import Estimate
from lobes.evaluation.comparison import ALL, GAINS, PairedDifference
from lobes.reports.differences import NOTHING
from lobes.reports.measure_names import digits, heading, listed, upwards
from lobes.reports.page_scores import Scores
from lobes.reports.tables import show

BEST, AMONG_BEST = "best", "among the best"
MOST_NUMBERS = MOST_NAMES = 3  # systems of which a sentence says by how much, or the name


class Verdicts:
    """What the differences over all utterances show of two systems."""

    def __init__(self, scores: Scores, differences: Iterable[PairedDifference]) -> None:
        self.scores = scores
        self._pairs = {
            (*pair, one.measure): one
            for one in differences
            if one.condition == ALL
            for pair in ((one.first, one.second), (one.second, one.first))
        }

    def between(self, one: str, other: str, measure: str) -> PairedDifference | None:
        """The difference of two systems in a measure, or in the gain that goes with a level."""
        return self._pairs.get((one, other, measure)) or self._pairs.get((one, other, GAINS.get(measure, "")))

    def rivals(self, label: str, measure: str) -> list[str]:
        """The systems that one was compared with."""
        return [other for other in self.scores.labels if self.between(label, other, measure)]

    def beaten(self, label: str, measure: str) -> list[str]:
        """The systems that one is shown to be better than."""
        found = ((other, self.between(label, other, measure)) for other in self.rivals(label, measure))
        return [other for other, one in found if one and one.better == label]

    def beaten_by(self, label: str, measure: str) -> list[str]:
        """The systems that are shown to be better than one."""
        return [other for other in self.rivals(label, measure) if label in self.beaten(other, measure)]

    def leader(self, measure: str) -> str:
        """The system with the best mean among those that were compared and are not shown to be worse than another.

        Empty if none were compared. Means are those of the table, over the utterances that every system has.
        """
        compared = [label for label in self.scores.labels if self.rivals(label, measure)]
        means = {label: upwards(measure) * self.scores.mean_alone(label, measure) for label in compared}
        means = {label: mean for label, mean in means.items() if np.isfinite(mean)}
        unbeaten = {label: mean for label, mean in means.items() if not self.beaten_by(label, measure)}
        return max(unbeaten or means, key=lambda label: means[label], default="")

    def marks(self, measure: str) -> dict[str, str]:
        """`best` for a system that is better than every other, else `among the best` for all not shown to be worse."""
        leader = self.leader(measure)
        if not leader:
            return {}
        beaten = self.beaten(leader, measure)
        level = [other for other in self.rivals(leader, measure) if other not in beaten]
        return dict.fromkeys([leader, *level], AMONG_BEST) if level else {leader: BEST}


def question(scores: Scores) -> str:
    """What the page answers."""
    models, count = scores.models, len(scores.ids)
    which = "is better" if len(models) == 2 else "is best"
    asked = f"How good is {models[0]}" if len(models) == 1 else f"Which of these {len(models)} systems {which}"
    utterances = "1 utterance" if count == 1 else f"{count} utterances"
    speakers = f" of {scores.speaker_count} speaker{'s' * (scores.speaker_count > 1)}" if scores.speaker_count else ""
    against = ", and what does it do to the untouched input" if scores.reference else ""
    return f"{asked}{', and in what' * (len(models) > 1)}{against * (len(models) == 1)}? {utterances}{speakers}."


def headline(verdicts: Verdicts) -> list[str]:
    """Which system is better than all others, in which measures; and where that is not shown, between which ones."""
    measures = [measure for measure in verdicts.scores.measures if verdicts.leader(measure)]
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for measure in measures:
        leader, marked = verdicts.leader(measure), verdicts.marks(measure)
        level = tuple(label for label in marked if label != leader)
        found.setdefault((leader, level), []).append(measure)
    if not measures and not against_input(verdicts):
        return ["Nothing was compared. Means alone, as below, do not say which system is better."]
    won_first = sorted(found.items(), key=lambda item: bool(item[0][1]))
    return [_headline(verdicts, *who, what) for who, what in won_first]


def by_measure(verdicts: Verdicts) -> list[tuple[str, str]]:
    """For each measure its heading, and what is shown of the system with the best mean."""
    return [(heading(name), _of_leader(verdicts, name)) for name in verdicts.scores.measures if verdicts.leader(name)]


def against_input(verdicts: Verdicts) -> list[tuple[str, str]]:
    """For each system its label, and in what it is better or worse than the untouched input.

    Where the input was not one of the systems compared, an interval of the gain that excludes zero decides.
    """
    scores = verdicts.scores
    found = [(label, _of_gains(verdicts, label)) for label in scores.models] if scores.reference else []
    return [(label, words) for label, words in found if words]


def _headline(verdicts: Verdicts, leader: str, level: Sequence[str], measures: Sequence[str]) -> str:
    what = listed([heading(measure) for measure in measures])
    if level:
        others = listed(list(level)) if len(level) <= MOST_NAMES else f"{len(level)} others"
        return f"In {what}, {leader} has the best mean; against {others}, {NOTHING}."
    rivals = verdicts.rivals(leader, measures[0])
    return f"{leader} is better than {rivals[0] if len(rivals) == 1 else 'every other system'} in {what}."


def _of_leader(verdicts: Verdicts, measure: str) -> str:
    leader = verdicts.leader(measure)
    rivals, beaten = verdicts.rivals(leader, measure), verdicts.beaten(leader, measure)
    level = [other for other in rivals if other not in beaten]
    numbers = len(rivals) <= MOST_NUMBERS
    by = {other: f" ({_advantage(verdicts, leader, other, measure)})" if numbers else "" for other in rivals}
    said = []
    if beaten:
        said.append(f"{leader} is better than {listed([other + by[other] for other in beaten])}.")
    if level:
        names = listed([other + by[other].replace("(by ", "(") for other in level])
        said.append(f"{'Against' if beaten else f'{leader} has the best mean; against'} {names}, {NOTHING}.")
    return " ".join(said)


def _advantage(verdicts: Verdicts, one: str, other: str, measure: str) -> str:
    """By how much one system is better than another, with the interval."""
    pair = verdicts.between(one, other, measure)
    if pair is None:
        return ""
    sign = upwards(measure) * (1 if pair.first == one else -1)
    return _number(pair.estimate, measure, sign)


def _number(found: Estimate, measure: str, sign: int = 1) -> str:
    ends = sorted((sign * found.low, sign * found.high))
    mean, low, high = (show(value, digits(measure)) for value in (sign * found.mean, *ends))
    return f"by {mean}\u00a0[{low},\u00a0{high}]"


def _of_gains(verdicts: Verdicts, label: str) -> str:
    said: dict[str, list[str]] = {"better in": [], "worse in": [], f"{NOTHING} in": []}
    for measure in verdicts.scores.measures:
        verdict, number = _against_input(verdicts, label, measure)
        if verdict:
            said[verdict].append(heading(measure) + (f" ({number})" if number else ""))
    return "; ".join(f"{verdict} {listed(what)}" for verdict, what in said.items() if what)


def _against_input(verdicts: Verdicts, label: str, measure: str) -> tuple[str, str]:
    """The verdict on one measure and by how much; two empty texts where nothing is known."""
    scores = verdicts.scores
    reference = scores.reference or ""
    pair = verdicts.between(label, reference, measure)
    if pair is not None:
        verdict = {label: "better in", reference: "worse in"}.get(pair.better, f"{NOTHING} in")
        better = verdict == "better in"
        first, second = (label, reference) if better else (reference, label)
        return verdict, _advantage(verdicts, first, second, measure) if pair.better else ""
    gain = scores.mean_gain(label, measure)
    if not np.isfinite(gain.low):
        return "", ""
    verdict = "better in" if gain.low > 0 else "worse in" if gain.high < 0 else f"{NOTHING} in"
    sign = -1 if verdict == "worse in" else 1
    return verdict, "" if verdict.startswith(NOTHING) else _number(gain, measure, sign)
