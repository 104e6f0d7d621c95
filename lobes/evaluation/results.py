"""The files of a test or an evaluation: the table of utterances, the summary, some audio. T samples, S sources."""

from __future__ import annotations

import json
import logging
import re
import zlib
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

LONGEST = 128  # letters of a folder's name
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file names on Windows

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


def folder_name(ID: str) -> str:
    """A name for an item's folder that every file system takes: the ID, where it is such a name.

    Example
    -------
    >>> folder_name("p232_001"), folder_name("../a:b")
    ('p232_001', '.._a_b-c5c494f2')
    """
    name = re.sub(r"[^\w.+-]", "_", ID.strip())[:LONGEST]
    name = f"_{name}" if DEVICES.fullmatch(name) else name
    return (
        name
        if name == ID and name.rstrip(".") == name != ""
        else f"{name}-{zlib.crc32(ID.encode(errors='surrogateescape')):08x}"
    )


def write_item(job: ScoreJob, folder: Path) -> None:
    """Write the mixture, the targets and the estimates in the targets' order, in a format that cuts nothing off."""
    from lobes.nnet.level import fitted

    signals = {"mix": job.mix}
    order = best_order(job.estimates, job.targets) if np.isfinite(job.estimates).all() else range(job.targets.shape[1])
    estimates = fitted(job.estimates, job.mix)  # [T,S]
    for source, estimate in enumerate(order):
        signals[f"s{source + 1}"] = job.targets[:, source]
        signals[f"s{source + 1}_hat"] = estimates[:, estimate]
    finite = {name: signal for name, signal in signals.items() if np.isfinite(signal).all()}
    for name in signals.keys() - finite:
        logger.warning("%s: %s has samples that are not finite; not written as audio", job.id, name)
    peak = max((float(np.abs(signal).max(initial=0.0)) for signal in finite.values()), default=0.0)
    for name, signal in finite.items():
        write(folder / f"{name}.wav", signal, job.sample_rate, subtype="FLOAT" if peak > 1 else "PCM_16")
