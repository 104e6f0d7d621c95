"""Evaluate a trained model on a manifest: any data set, whatever it was trained on. T samples, S sources.

Files at another rate than the model's are resampled to it, and scored there: what lies above is in no score.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data import audio
from lobes.data.manifest import read_manifest
from lobes.data.rates import resample
from lobes.errors import UserError, did_you_mean
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.results import with_audio, write_results
from lobes.evaluation.scoring import score_many
from lobes.metrics.utterance import METRICS
from lobes.runs import names

Separate = Callable[[np.ndarray], np.ndarray]  # a mixture [T] to its sources [T,S]


def evaluate(
    separate: Separate,
    num_sources: int,
    sample_rate: int,
    manifest: str | os.PathLike[str],
    out_folder: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] = METRICS,
    workers: int | None = None,
    audio_items: int = 0,
    group_by: str | None = None,
) -> dict[str, Any]:
    """Separate every mixture of a manifest and score it against its sources.

    Arguments
    ---------
    separate : callable
        The model: a mixture [T] at `sample_rate`, float32, to its sources [T,S].
    num_sources, sample_rate : int
        What the model gives, and the rate in Hz that it wants.
    manifest : str or PathLike
        CSV with ID, mix_wav, s1_wav ..., as every preparation here writes it.
    out_folder : str or PathLike
        Gets `per_utterance.csv`, `summary.json` and `audio/`.
    data_root : str or PathLike, optional
        What `$data_root` in the manifest stands for.
    metrics : sequence of str
        As in `lobes.metrics.score`.
    workers : int, optional
        Scoring processes, as in `lobes.evaluation.scoring.score_many`.
    audio_items : int
        So many items are written as audio.
    group_by : str, optional
        A column of the manifest whose values count equally in the means, such as PolSESS's `variant`.

    Returns
    -------
    dict
        The summary of `lobes.evaluation.summary.summarise`.

    Raises
    ------
    UserError
        Another number of sources than the model's, sources of another length than their mixture, a missing or damaged
        file.
    """
    rows = read_manifest(manifest, data_root)
    sources = sources_of(rows[0])
    if len(sources) != num_sources:
        raise UserError(
            f"{manifest} has {len(sources)} source(s) ({', '.join(sources)}), the model gives {num_sources}. "
            "Take a model for that task, or a manifest with the columns of that task."
        )
    out = Path(out_folder)
    out.mkdir(parents=True, exist_ok=True)
    if group_by is not None and group_by not in rows[0]:
        raise UserError(f"{manifest} has no column {group_by}.{did_you_mean(group_by, rows[0])}")
    jobs = _jobs(rows, sources, separate, sample_rate, metrics, group_by)
    return write_results(score_many(with_audio(jobs, out / names.AUDIO, audio_items), workers), out, group_by)


def sources_of(row: Mapping[str, Any]) -> list[str]:
    """The columns of the sources that a manifest's row fills.

    Example
    -------
    >>> sources_of({"ID": "a", "mix_wav": "m.wav", "s1_wav": "x.wav", "s2_wav": "", "noise_wav": "n.wav"})
    ['s1_wav']
    """
    numbered = (f"s{number}_wav" for number in range(1, len(row)))
    return [column for column in numbered if row.get(column)]


def _jobs(
    rows: Sequence[Mapping[str, Any]],
    sources: Sequence[str],
    separate: Separate,
    rate: int,
    metrics: Sequence[str],
    group_by: str | None,
) -> Iterator[ScoreJob]:
    for row in rows:
        mix, *tracks = (_read(row[column], rate) for column in ("mix_wav", *sources))
        targets = np.stack([_fitted(track, len(mix), row["ID"]) for track in tracks], 1)  # [T,S]
        conditions = {} if group_by is None else {group_by: str(row[group_by])}
        yield ScoreJob(row["ID"], separate(mix), targets, mix, rate, metrics, conditions=conditions)


def _read(path: str, rate: int) -> np.ndarray:
    """One channel [T] at the model's rate."""
    return resample(audio.read_mono(path), audio.probe(path).sample_rate, rate)


def _fitted(track: np.ndarray, samples: int, item: str) -> np.ndarray:
    if len(track) != samples:
        raise UserError(f"{item}: the mixture has {samples} samples, one of its sources {len(track)}.")
    return track
