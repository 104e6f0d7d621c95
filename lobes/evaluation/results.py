"""What a test or an evaluation leaves: a table of the utterances, a summary, some audio. T samples, S sources."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.audio import write
from lobes.evaluation.scoring import ScoreJob, write_per_utterance
from lobes.evaluation.summary import format_table, summarise
from lobes.metrics.utterance import best_order

logger = logging.getLogger(__name__)


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
