"""The test stage: a row per utterance, a summary per variant, some audio. Shared by all recipes.

Legend: B batch, T samples, S sources.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lobes.data.audio import write
from lobes.evaluation.utterances import ScoreJob, score_many, write_per_utterance
from lobes.metrics.summary import format_table, summarise
from lobes.metrics.utterance import best_order

logger = logging.getLogger(__name__)


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


def write_results(
    rows: list[dict[str, Any]], folder: Path, ending: str = "", beside: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write `per_utterance<ending>.csv` and `summary<ending>.json`, show the table and return the summary.

    `beside` are further keys of the summary.
    """
    summary = {**summarise(rows), **(beside or {})}
    write_per_utterance(folder / f"per_utterance{ending}.csv", rows)
    write_json(folder / f"summary{ending}.json", summary)
    logger.info("test%s, dB with the natural sign:\n%s", ending.replace("_", ", "), format_table(summary))
    return summary


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def with_audio(jobs: Iterator[ScoreJob], folder: Path, items: int) -> Iterator[ScoreJob]:
    """Pass the jobs on, the first so many also as audio files."""
    for index, job in enumerate(jobs):
        if index < items:
            _write_item(job, folder / job.id)
        yield job


def _write_item(job: ScoreJob, folder: Path) -> None:
    """Write the mixture, the targets and the estimates in the targets' order."""
    folder.mkdir(parents=True, exist_ok=True)
    signals = {"mix": job.mix}
    order = best_order(job.estimates, job.targets) if np.isfinite(job.estimates).all() else range(job.targets.shape[1])
    for source, estimate in enumerate(order):
        signals[f"s{source + 1}"] = job.targets[:, source]
        signals[f"s{source + 1}_hat"] = job.estimates[:, estimate]
    for name, signal in signals.items():
        clips = bool(np.abs(signal).max(initial=0.0) > 1.0)  # a float file keeps what 16 bits would cut off
        write(folder / f"{name}.wav", signal, job.sample_rate, subtype="FLOAT" if clips else "PCM_16")
