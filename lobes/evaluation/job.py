"""One utterance to score, and its row of the table. T samples, S sources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lobes.errors import UserError
from lobes.evaluation import inputs
from lobes.evaluation.recognisers import POCKETSPHINX, load_recogniser
from lobes.evaluation.untouched import score_mixture
from lobes.metrics.own import is_own
from lobes.metrics.utterance import METRICS, NUMBERS, score
from lobes.metrics.words import Transcripts

KEY = "key"  # of a row, while it is made
# Metrics that depend on the level of an estimate.
LEVELLED = ("ssnr", "composite", "snr", "lsd", "dnsmos", "speech_activity", "wer")


@dataclass(frozen=True)
class ScoreJob:
    """One utterance to score.

    Arguments
    ---------
    id : str
    estimates, targets : array [T,S]
    mix : array [T]
    sample_rate : int
        In Hz.
    metrics : sequence of str
        As in `lobes.metrics.score`.
    improvement : bool
        False where the mixture is the target and a gain over it means nothing.
    conditions : mapping of str to str
        What the utterance can be grouped by, a column of the table for each: `{"variant": "SER"}`.
    score_input : bool
        Score the mixture, too, as `inputs` of `lobes.metrics.score`.
    texts : sequence of str
        What each source says, for wer.
    recogniser : str
        For wer, as in `lobes.evaluation.recognisers`.
    trust : bool
        Run whatever the recogniser's folder names.
    key : str
        What the row is known by while a table is made.
    untouched : bool
        The mixture itself is the system, and the estimates are not read.
    known : mapping of str to float
        With `score_input`: numbers of the mixture and of the targets, such as `pesq_in`, which are not computed again.
    """

    id: str
    estimates: np.ndarray
    targets: np.ndarray
    mix: np.ndarray
    sample_rate: int
    metrics: Sequence[str] = METRICS
    improvement: bool = True
    conditions: Mapping[str, str] = field(default_factory=dict)
    score_input: bool = False
    texts: Sequence[str] = ()
    recogniser: str = POCKETSPHINX
    trust: bool = False
    key: str = ""
    untouched: bool = False
    known: Mapping[str, float] = field(default_factory=dict)

    def row(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """The row of the table: id, conditions, then the numbers and the status, and the key where there is one."""
        return {"id": self.id, **self.conditions, **numbers, **({KEY: self.key} if self.key else {})}


def score_job(job: ScoreJob) -> dict[str, Any]:
    """Score one job in this process: a row of the table.

    Whatever goes wrong becomes the row's status, except shapes that do not fit together.

    Raises
    ------
    UserError
        For shapes that do not fit together or an unknown metric; it names the job.

    Example
    -------
    >>> x = np.random.default_rng(0).standard_normal((8000, 1))
    >>> score_job(ScoreJob("a", x, x, x[:, 0], 8000, ("si_sdr",), improvement=False))["si_sdr"]
    100.0
    """
    key = _input_key(job) if job.score_input else ""
    try:
        numbers = _scores_of(job, {**inputs.known(key), **job.known} if key else None)
    except UserError as error:
        conditions = f" ({', '.join(job.conditions.values())})" if job.conditions else ""
        raise UserError(f"{job.id}{conditions}: {error}") from error
    except Exception as error:
        numbers = failed(f"error: {type(error).__name__}")
    if key:
        inputs.keep(key, numbers)
    return job.row(numbers)


def _scores_of(job: ScoreJob, known: Mapping[str, float] | None) -> dict[str, Any]:
    if job.untouched:
        rest = (tuple(job.metrics), job.improvement, _transcripts(job))
        return score_mixture(job.targets, job.mix, job.sample_rate, *rest)
    signals = (_at_level(job), job.targets, job.mix)
    return score(*signals, job.sample_rate, job.metrics, job.improvement, known, _transcripts(job))


def _input_key(job: ScoreJob) -> str:
    words = f"{[*job.texts]} {job.recogniser}" if "wer" in job.metrics else ""
    return inputs.key_of(job.mix, job.targets, job.sample_rate, words)


def _transcripts(job: ScoreJob) -> Transcripts:
    """The texts and a recogniser that is made when it is first asked: what is missing then is a status."""

    def recognise(x: np.ndarray, rate: int) -> str:
        return load_recogniser(job.recogniser, job.trust)(x, rate)

    return Transcripts(job.texts, recognise)


def _at_level(job: ScoreJob) -> np.ndarray:
    """The estimates [T,S], at the level that fits their mixture where a metric depends on it.

    Others ignore the level, and get the estimates as they come.
    """
    if not any(name in LEVELLED or is_own(name) for name in job.metrics):
        return job.estimates
    from lobes.nnet.level import fitted

    return fitted(job.estimates, job.mix) if len(job.estimates) == len(job.mix) else job.estimates


def failed(status: str) -> dict[str, Any]:
    """The numbers of an item that could not be scored at all: NaN, and the status that says why.

    Example
    -------
    >>> failed("timeout (120 s)")["status"]
    'timeout (120 s)'
    """
    return {**dict.fromkeys(NUMBERS, math.nan), "status": status}
