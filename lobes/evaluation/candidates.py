"""What can be evaluated: whatever makes estimates of a mixture. T samples, S sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lobes.data.audio import AudioInfo
from lobes.evaluation.recognisers import POCKETSPHINX, check_recogniser
from lobes.metrics.utterance import METRICS, check_metrics

NOISY = "noisy"  # the label of the untouched mixture
# ID -> the file name of the mixture, and the header of the files that it is made of
Mixtures = Mapping[str, tuple[str, AudioInfo]]


class Candidate(Protocol):
    """A system that is evaluated, whatever it is."""

    label: str  # a file name
    num_sources: int | None  # None: as many as the test set has
    sample_rate: int | None  # in Hz; None: any

    @property
    def fingerprint(self) -> str:
        """Equal where all estimates are; empty where only the estimates themselves can show it."""

    def prepare(self, mixtures: Mixtures, num_sources: int) -> None:
        """Refuse before the first item is scored what would be refused later."""

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """The estimates [T,S] of a mixture [T] at a rate in Hz, at any level."""


@dataclass(frozen=True)
class Asked:
    """What is asked of each system: measures, and for wer the recogniser, as in `ScoreJob`.

    Raises
    ------
    UserError
        An unknown measure, or no such recogniser.

    Example
    -------
    >>> Asked(["si_sdr"]).summary
    {}
    """

    metrics: Sequence[str] = METRICS
    recogniser: str = POCKETSPHINX
    trust: bool = False

    def __post_init__(self) -> None:
        check_metrics(self.metrics)
        if "wer" in self.metrics:
            check_recogniser(self.recogniser, self.trust)

    @property
    def summary(self) -> dict[str, str]:
        """What the summary says of it."""
        return {"recogniser": self.recogniser} if "wer" in self.metrics else {}


class OneFunction:
    """A function of a mixture [T] at its own rate that gives its sources [T,S], of which nothing else is known.

    Example
    -------
    >>> OneFunction(lambda mix: mix[:, None], 1, 8000).estimates("a", np.ones(4), 8000).shape
    (4, 1)
    """

    label, fingerprint = "model", ""

    def __init__(self, separate: Callable[[np.ndarray], np.ndarray], num_sources: int, sample_rate: int) -> None:
        self.separate = separate
        self.num_sources: int | None = num_sources
        self.sample_rate: int | None = sample_rate

    def prepare(self, mixtures: Mixtures, num_sources: int) -> None:
        """Nothing can be known before it is called."""

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """What the function gives."""
        return self.separate(mix)


class UntouchedMixture:
    """The mixture as the estimate of each of its sources.

    Example
    -------
    >>> noisy = UntouchedMixture()
    >>> noisy.prepare({}, 2)
    >>> noisy.estimates("a", np.ones(4), 8000).shape
    (4, 2)
    """

    num_sources: int | None = None
    sample_rate: int | None = None
    fingerprint = NOISY

    def __init__(self, label: str = NOISY) -> None:
        self.label = label
        self.count = 1

    def prepare(self, mixtures: Mixtures, num_sources: int) -> None:
        """Remember how many sources there are."""
        self.count = num_sources

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """The mixture, once for each source."""
        return np.repeat(mix[:, None], self.count, axis=1)
