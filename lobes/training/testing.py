"""The test stage: a row per utterance, a summary per variant, some audio. Shared by all recipes.

Legend: B batch, T samples, S sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lobes.evaluation.results import with_audio, write_results
from lobes.evaluation.scoring import ScoreJob, score_many


def score_jobs(
    batches: Iterable[Any],
    separate: Callable[[Any], Tensor],
    improves: Callable[[Any], list[bool]],
    sample_rate: int,
    metrics: list[str],
) -> Iterator[ScoreJob]:
    """Run the model batch by batch and yield what the metrics need, so that few utterances are held in memory.

    Arguments
    ---------
    batches : iterable of PaddedBatch
        With `id`, `variant`, `mix_sig` [B,T] and `sources_sig` [B,T,S].
    separate : callable
        Batch -> estimates [B,T,S].
    improves : callable
        Batch -> whether each item's improvement over the input means something.
    sample_rate : int
        In Hz.
    metrics : list of str
        As in `lobes.metrics.utterance.score`.

    Yields
    ------
    ScoreJob
        One per item, without the padding.
    """
    for batch in batches:
        with torch.no_grad():
            estimates = separate(batch)  # [B,T,S]
        yield from jobs_of(batch, estimates, improves(batch), sample_rate, metrics)


def jobs_of(
    batch: Any, estimates: Tensor, improves: Sequence[bool], sample_rate: int, metrics: Sequence[str]
) -> Iterator[ScoreJob]:
    """The items of a batch with their estimates [B,T,S] as jobs, without the padding."""
    mix, lengths = batch.mix_sig
    outputs, mixtures, targets = (x.detach().float().cpu().numpy() for x in (estimates, mix, batch.sources_sig.data))
    samples = (lengths * mix.shape[1]).round().int().tolist()
    items = zip(batch.id, batch.variant, improves, samples, strict=True)
    for i, (ID, variant, counts, n) in enumerate(items):
        signals = (outputs[i, :n], targets[i, :n], mixtures[i, :n])
        yield ScoreJob(ID, variant, *signals, sample_rate, metrics, counts)


def run_test(jobs: Iterator[ScoreJob], folder: str | Path, workers: int, audio_items: int) -> dict[str, Any]:
    """Score all jobs and write `per_utterance.csv`, `summary.json` and `audio/` into the run folder.

    Arguments
    ---------
    jobs : iterator of ScoreJob
    folder : str or Path
        The run folder.
    workers : int
        Scoring processes; 0 scores in this one.
    audio_items : int
        The first so many items are written as audio, at their true level.

    Returns
    -------
    dict
        The summary.
    """
    folder = Path(folder)
    rows = score_many(with_audio(jobs, folder / "audio", audio_items), workers=workers)
    return write_results(rows, folder)
