"""Statistics of differences between two systems on the same utterances, which speakers make dependent.

N utterances, G speakers. An utterance has one speaker, or the several of a mixture. Utterances that share a speaker are
not independent: an interval that takes them as such is too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import NamedTuple

import numpy as np

DRAWS = 4000
BLOCK = 2_000_000  # numbers of a matrix that is held at once
LARGEST = 32_000_000  # numbers of a matrix that is kept for the next measure
EXACT = 14  # speakers of whom all exchanges are tried
FURTHER = 50  # times as many exchanges are drawn at most, while none is as large as what was found


class Estimate(NamedTuple):
    """A mean difference, the ends of its interval, and the p of "no difference"."""

    mean: float
    low: float
    high: float
    p: float

    def within(self, least: float, highest: float) -> Estimate:
        """The same with an interval that holds only what the quantity can be: with few speakers it may reach further.

        Example
        -------
        >>> Estimate(0.7, -0.3, 1.2, 0.01).within(0.0, np.inf)
        Estimate(mean=0.7, low=0.0, high=1.2, p=0.01)
        """
        low, high = min(max(self.low, least), self.mean), max(min(self.high, highest), self.mean)
        return self if np.isnan(self.low) else self._replace(low=low, high=high)


class Clusters:
    """Which speakers speak in which utterance.

    Arguments
    ---------
    speakers : sequence of tuples
        [N], the speakers of each utterance. An utterance whose speakers are unknown gets a tuple of its own ID.

    Example
    -------
    >>> clusters = Clusters([("anna", "jan"), ("anna", "ewa"), ("jan", "ewa")])
    >>> clusters.member.shape, clusters.count, clusters.single
    ((3, 3), 3, False)
    """

    def __init__(self, speakers: Sequence[tuple[str, ...]]) -> None:
        names = sorted({name for together in speakers for name in together})
        index = {name: column for column, name in enumerate(names)}
        self.member = np.zeros((len(speakers), len(names)), bool)  # [N,G]
        for row, together in enumerate(speakers):
            self.member[row, [index[name] for name in together]] = True
        self.count = len(names)
        self.single = bool((self.member.sum(1) == 1).all())
        self.first = self.member.argmax(1)  # [N], the speaker of each utterance where all have a single one
        self._drawn: dict[int, tuple[np.ndarray, np.random.Generator]] = {}
        self._together: np.ndarray | None = None

    def variance(self, residuals: np.ndarray) -> float:
        """Variance of the sum of residuals [N], with all covariances within speakers (Aronow et al. 2015).

        Residuals around their own mean are too small for so few speakers, which is put right. The result is never
        below that of independent utterances, since an estimate of covariances may be negative.
        """
        found = float(residuals @ self._sums_of_related(residuals))
        return max(found, float(residuals @ residuals)) * self._correction()

    def sums(self, parts: np.ndarray) -> np.ndarray:
        """Sums [G] of parts [N] over the utterances of each speaker."""
        return np.bincount(self.first, parts, self.count) if self.single else parts @ self.member

    def drawn(self, draws: int) -> tuple[np.ndarray, np.random.Generator]:
        """How often speakers are drawn [draws,G], and the generator, which goes on from there.

        They are remembered, since all measures and pairs of systems have the same utterances.
        """
        if draws not in self._drawn:
            generator = np.random.default_rng(0)
            times = generator.multinomial(self.count, np.full(self.count, 1 / self.count), draws).astype(np.float64)
            self._drawn[draws] = times, generator
        times, generator = self._drawn[draws]
        return times, deepcopy(generator)

    def sums_of_draws(self, times: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """Sums [draws,M] of parts [N,M], each utterance as often as all of its speakers were drawn [draws,G]."""
        if self.single:  # sums of each speaker first: no matrix of draws and utterances
            return times @ np.stack([self.sums(column) for column in parts.T], 1)
        if len(times) * len(parts) > LARGEST:
            blocks = np.array_split(times, len(times) * len(parts) // BLOCK)
            return np.concatenate([self._times_together(block) @ parts for block in blocks])
        if self._together is None or len(self._together) != len(times):
            self._together = self._times_together(times)
        return self._together @ parts

    def _times_together(self, times: np.ndarray) -> np.ndarray:
        """Products [draws,N] of the times [draws,G] that all speakers of an utterance were drawn."""
        (_, speaker), *others = self._nth_speakers
        together = times[:, speaker]
        for has, speaker in others:
            if has.all():
                together *= times[:, speaker]  # much faster than the same with an index
            else:
                together[:, has] *= times[:, speaker]
        return together

    @cached_property
    def _nth_speakers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For the first speaker, the second ...: which utterances have one, and who that is."""
        order, several = np.argsort(~self.member, axis=1, kind="stable"), self.member.sum(1)
        return [(several > number, order[several > number, number]) for number in range(int(several.max()))]

    def effective(self, share: np.ndarray) -> float:
        """How many speakers of equal weight know as much as these, whose weights differ (Carter et al. 2017)."""
        squares = self.sums(share) ** 2  # [G]
        return float(squares.sum() ** 2 / (squares**2).sum())

    def _sums_of_related(self, residuals: np.ndarray) -> np.ndarray:
        """For each utterance the sum [N] over all that share a speaker with it."""
        if self.single:
            return self.sums(residuals)[self.first]
        member = self.member.astype(np.float32)
        blocks = np.array_split(member, max(1, member.size // BLOCK + 1))
        return np.concatenate([(block @ member.T > 0) @ residuals for block in blocks])

    def _correction(self) -> float:
        count = self.count
        if self.single or count < 4:
            return count / max(1, count - 1)
        return count * (count - 1) / (count - 2) ** 2  # a mixture's residual contains the mean twice


def estimate(
    values: np.ndarray,
    clusters: Clusters,
    weights: np.ndarray | None = None,
    trainings: Sequence[np.ndarray] = (),
    level: float = 0.95,
    draws: int = DRAWS,
    further: int = FURTHER,
) -> Estimate:
    """Weighted mean of differences, its interval by a bootstrap of speakers and trainings, and p.

    Speakers are drawn with replacement, and an utterance counts as often as all of its speakers were drawn together
    (Owen 2007). The spread of the draws is brought to the standard error that respects speakers, since draws of pairs
    exaggerate it. Trainings add normal deviations with the variance of their means. The interval is lengthened as
    Student's t asks for so few speakers and trainings (Hesterberg 2015).

    p is that of exchanging the two systems for all utterances of a speaker, at random. Where utterances have several
    speakers, or the systems several trainings, no such exchange exists, and p is that of a t test with the standard
    error and the degrees of freedom of the interval.

    Arguments
    ---------
    values : numpy.ndarray
        [N], a difference for each utterance, the mean over trainings.
    clusters : Clusters
        Of the N utterances.
    weights : numpy.ndarray, optional
        [N], what an utterance counts in the mean. Without it all count equally.
    trainings : sequence of numpy.ndarray
        For each system the mean score of each of its trainings. All are taken to vary alike, also those of a system
        with a single one; where every system has one, nothing is known about others.
    level : float
        Share of intervals that hold the truth.
    draws : int
        The same values give the same draws.
    further : int
        So many times as many exchanges are drawn for p, while none is as large as what was found; 1 where p is not
        corrected for other questions.

    Returns
    -------
    Estimate

    Example
    -------
    >>> values = np.random.default_rng(0).normal(0.5, 1.0, 200)
    >>> found = estimate(values, Clusters([(f"s{n % 20}",) for n in range(200)]))
    >>> found.low < 0.5 < found.high, found.p < 0.01
    (True, True)
    """
    from scipy import stats

    share = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()
    mean = float(share @ values)
    times, generator = clusters.drawn(draws)
    parts = [
        (clusters.variance(share * (values - mean)), clusters.effective(share) - 1),
        _variance_of_trainings(trainings),
    ]
    spread = _scaled(_means_of_draws(times, values, share, clusters) - mean, parts[0][0])
    # Two or three trainings have too few different samples to draw from: normal deviations, evenly spread.
    normal = generator.permutation(stats.norm.ppf((np.arange(draws) + 0.5) / draws))
    spread = spread + normal * np.sqrt(parts[1][0])
    error, freedom = np.sqrt(sum(variance for variance, _ in parts)), _degrees_of_freedom(parts)
    tail = (1 - level) / 2
    low, high = mean + np.quantile(spread, [tail, 1 - tail]) * (stats.t.ppf(tail, freedom) / stats.norm.ppf(tail))
    if clusters.single and not parts[1][1]:
        p = _p_of_exchange(share * values, clusters, generator, draws, further)
    else:
        p = 2 * float(stats.t.cdf(-abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    # where all values are equal, rounding must not put the mean outside of its interval
    return Estimate(mean, min(float(low), mean), max(float(high), mean), p)


def holm(p: Sequence[float]) -> list[float]:
    """p values that hold for all questions together, by Holm (1979).

    Example
    -------
    >>> [round(value, 6) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order, adjusted, highest = np.argsort(p), [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted


def _means_of_draws(times: np.ndarray, values: np.ndarray, share: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Weighted means [draws]; a draw in which no utterance has all of its speakers repeats others."""
    total, count = clusters.sums_of_draws(times, np.stack([share * values, share], 1)).T  # [draws]
    kept = count > 0.5 * share.min()
    found = total[kept] / count[kept]
    return np.resize(found, len(times)) if len(found) else np.full(len(times), share @ values)


def _variance_of_trainings(trainings: Sequence[np.ndarray]) -> tuple[float, int]:
    """Variance of the difference of the systems' means over their trainings, and its degrees of freedom."""
    freedom = sum(len(means) - 1 for means in trainings)
    if not freedom:
        return 0.0, 0
    squares = sum(float(np.var(means) * len(means)) for means in trainings)
    return squares / freedom * sum(1 / len(means) for means in trainings), freedom


def _scaled(deviations: np.ndarray, variance: float) -> np.ndarray:
    spread = deviations.std()
    return deviations * (np.sqrt(variance) / spread) if spread > 0 else deviations


def _degrees_of_freedom(parts: Sequence[tuple[float, float]]) -> float:
    """Those of a sum of estimated variances (Welch and Satterthwaite)."""
    total = sum(variance for variance, _ in parts)
    lost = sum(variance**2 / max(1, freedom) for variance, freedom in parts)
    return total**2 / lost if lost > 0 else 1.0


def _p_of_exchange(
    parts: np.ndarray, clusters: Clusters, generator: np.random.Generator, draws: int, further: int
) -> float:
    """Two-sided p of the sum of parts [N] under signs of each speaker: all of them, or random ones of many speakers.

    Where no draw reaches what was found, more are drawn, so that p can stay small when it is corrected for many
    questions.
    """
    sums = clusters.sums(parts)
    # The rounding of sums must not make a permutation that changes nothing smaller than what was found.
    found = abs(sums.sum()) * (1 - 1e-9)
    if clusters.count <= EXACT:
        signs = 1 - 2 * (np.arange(2**clusters.count)[:, None] >> np.arange(clusters.count) & 1)
        return float((np.abs(signs @ sums) >= found).mean())
    reached = done = 0
    while not reached and done < further * draws:
        exchanged = _sums_of_random_signs(sums, generator, draws)
        reached, done = int((np.abs(exchanged) >= found).sum()), done + draws
    return (reached + 1) / (done + 1)


def _sums_of_random_signs(sums: np.ndarray, generator: np.random.Generator, draws: int) -> np.ndarray:
    """Sums [draws] of parts [G] with random signs: a random byte chooses among the 256 sums of eight parts."""
    eights = np.pad(sums, (0, -len(sums) % 8)).reshape(-1, 8)
    signs = 1 - 2 * (np.arange(256)[:, None] >> np.arange(8) & 1)  # [256,8]
    total = np.zeros(draws)
    for choices in eights @ signs.T:  # [256]
        total += choices[generator.integers(0, 256, draws, np.uint8)]
    return total
