"""The files of a test or an evaluation: the table of utterances, the summary, some audio. T samples, S sources."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.audio import write
from lobes.data.files import write_whole
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.summary import format_table, summarise
from lobes.metrics.utterance import best_order
from lobes.runs import names
from lobes.runs.table import write_per_utterance

logger = logging.getLogger(__name__)


def write_results(
    rows: list[dict[str, Any]], folder: Path, by: str | None = None, of: str = "", **more: Any
) -> dict[str, Any]:
    """Write the table and its summary, show it and return it.

    Arguments
    ---------
    rows : list of dict
        The rows of `lobes.runs.table`.
    folder : Path
    by : str, optional
        The condition that the summary is grouped by.
    of : str
        What the rows are of, when it is not the model's output: it becomes part of the file names.
    **more
        Further keys of the summary.

    Returns
    -------
    dict
        The summary, as `lobes.evaluation.summary.summarise` describes it.
    """
    summary = {**summarise(rows, by), **more}
    write_per_utterance(folder / names.of(names.UTTERANCES, of), rows)
    write_json(folder / names.of(names.SUMMARY, of), summary)
    logger.info("test%s, dB with the natural sign:\n%s", f", {of}" if of else "", format_table(summary))
    return summary


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_whole(path, json.dumps(content, indent=1) + "\n")


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
