"""Scores of the untouched mixture as a system of its own, which every other system is compared with. T samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lobes.evaluation.score_tables import ScoreTable
from lobes.metrics.utterance import GAINED, INPUT, TARGET, inputs_of, numbers_of, score
from lobes.metrics.words import Transcripts


def score_mixture(
    targets: np.ndarray,
    mix: np.ndarray,
    sample_rate: int,
    metrics: tuple[str, ...],
    improvement: bool,
    transcripts: Transcripts = Transcripts(),  # noqa: B008
) -> dict[str, Any]:
    """Score a mixture [T] once, as the estimate of each of its targets [T,S] and as the input of all systems.

    Where the mixture is the target (`improvement` is False), there is nothing to score.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal(8000)
    >>> row = score_mixture(x[:, None], x + 0.1 * rng.standard_normal(8000), 8000, ("si_sdr",), True)
    >>> round(row["si_sdr"]), row["si_sdr"] == row["si_sdr_in"], row["si_sdri"]
    (20, True, 0.0)
    """
    numbers = numbers_of(metrics)
    row: dict[str, Any] = {**dict.fromkeys((*numbers, *inputs_of(numbers)), math.nan), "status": "ok"}
    if not improvement:
        return row
    mixtures = np.repeat(mix[:, None], targets.shape[1], axis=1)  # [T,S]
    row.update(score(mixtures, targets, mix, sample_rate, metrics, False, None, transcripts))
    row.update({f"{name}i": 0.0 for name in GAINED if math.isfinite(row[name])})
    row.update({name: row[name.removesuffix(INPUT)] for name in inputs_of(numbers)})
    return row


def known_numbers(row: dict[str, Any]) -> dict[str, float]:
    """What a row of the mixture says of it and of its targets, for the other systems' rows.

    Example
    -------
    >>> known_numbers({"id": "a", "pesq": 2.0, "pesq_in": 2.0, "stoi_in": math.nan})
    {'pesq_in': 2.0}
    """
    return {
        name: value
        for name, value in row.items()
        if name.endswith((INPUT, TARGET)) and isinstance(value, float | int) and math.isfinite(value)
    }


def mixture_of(table: ScoreTable) -> ScoreTable:
    """The table of the mixtures by what a system's table holds of its inputs.

    Example
    -------
    >>> mixture_of(ScoreTable("a", {"pesq": {"u": 2.5}, "pesq_in": {"u": 2.0}}, {}, ["u"])).numbers
    {'pesq': {'u': 2.0}, 'pesq_in': {'u': 2.0}}
    """
    of = {name: values for name, values in table.numbers.items() if name.endswith(INPUT)}
    shared = {name: table.numbers[name] for name in ("wer_words",) if name in table.numbers}
    numbers = {**{name.removesuffix(INPUT): values for name, values in of.items()}, **of, **shared}
    words = {name: values for name, values in table.words.items() if name != "status"}
    return ScoreTable(table.place, numbers, words, table.ids)
