"""Score many utterances, in this process or in several, and keep them in a table of one row per utterance.

Legend: T samples, S sources.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lobes.errors import UserError
from lobes.evaluation.summary import present_numbers
from lobes.metrics.utterance import METRICS, NUMBERS, score

COLUMNS = ("id", "variant", *NUMBERS, "status")
ITEMS_PER_WORKER = 100  # a worker takes 8 s of a core to start, an item of 4 s about 0.1 s to score


@dataclass(frozen=True)
class ScoreJob:
    """One utterance to score; the fields after `variant` are the arguments of `lobes.metrics.score`."""

    id: str
    variant: str
    estimates: np.ndarray  # [T,S]
    targets: np.ndarray  # [T,S]
    mix: np.ndarray  # [T]
    sample_rate: int
    metrics: Sequence[str] = METRICS
    improvement: bool = True


def score_job(job: ScoreJob) -> dict[str, Any]:
    """Score one job in this process: a row of the table. What goes wrong is a status, wrong shapes apart."""
    try:
        row = score(job.estimates, job.targets, job.mix, job.sample_rate, job.metrics, job.improvement)
    except UserError as error:
        raise UserError(f"{job.id} ({job.variant}): {error}") from error
    except Exception as error:
        row = failed(f"error: {type(error).__name__}")
    return {"id": job.id, "variant": job.variant, **row}


def failed(status: str) -> dict[str, Any]:
    """The numbers of an item that could not be scored at all: NaN, and the status that says why."""
    return {**dict.fromkeys(NUMBERS, math.nan), "status": status}


def score_many(
    jobs: Iterable[ScoreJob], workers: int | None = None, timeout: float = 120.0, progress: bool = True
) -> list[dict[str, Any]]:
    """Score the jobs, with a progress bar on a terminal.

    Arguments
    ---------
    jobs : iterable of ScoreJob
        Taken as they are needed, so a generator that runs the model holds only a few utterances in memory.
    workers : int, optional
        Processes beside this one; 0 scores here. By default as many as pay for their start.
    timeout : float
        Seconds for one job in a worker, a new worker's imports (about 8 s) included; then the worker is
        replaced and the row says "timeout". With 0 workers there is no limit.
    progress : bool
        Show the bar.

    Returns
    -------
    list of dict
        One row per job in the order of (id, variant). A job that killed its worker says "worker crashed".

    Raises
    ------
    UserError
        Where a job's shapes do not fit together; it names the job.

    Example
    -------
    >>> x = np.random.default_rng(0).standard_normal((8000, 1))
    >>> job = ScoreJob("b", "C", x, x, x[:, 0], 8000, metrics=("si_sdr",), improvement=False)
    >>> rows = score_many([job], workers=0)
    >>> rows[0]["id"], rows[0]["si_sdr"], rows[0]["status"]
    ('b', 100.0, 'ok')
    """
    from tqdm import tqdm

    from lobes.evaluation.worker import score_in_processes

    total = len(jobs) if isinstance(jobs, Sized) else None
    workers = default_workers(total) if workers is None else workers
    rows: Iterator[dict[str, Any]] = map(score_job, jobs)
    if workers > 0:
        rows = score_in_processes(jobs, workers, timeout)
    bar = tqdm(rows, total=total, desc="scoring", unit="item", disable=None if progress else True)
    return sorted(bar, key=lambda row: (row["id"], row["variant"]))


def default_workers(items: int | None) -> int:
    """One worker per core that this process may use, and per 100 items; unknown many items get them all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = cores if items is None else min(cores, items // ITEMS_PER_WORKER)
    return wanted if wanted > 1 else 0  # one worker would only do what this process can do itself


def write_per_utterance(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table as CSV with the columns id, variant, the numbers, status; NaN is an empty cell.

    The six numbers of every evaluation have a column always, those of enhancement where a row has them. The file
    appears whole or not at all (written beside and renamed). Other keys of a row are not written.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "per_utterance.csv"
    >>> write_per_utterance(path, [{"id": "a", "variant": "C", "si_sdr": 4.0, "status": "ok"}])
    >>> read_per_utterance(path)[0]["si_sdr"]
    4.0
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    rows = list(rows)
    numbers = present_numbers(rows)
    with open(partial, "w", newline="", encoding="utf-8") as file:
        columns = ("id", "variant", *numbers, "status")
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, **{name: _cell(row.get(name)) for name in numbers}})
    os.replace(partial, path)


def read_per_utterance(path: str | Path) -> list[dict[str, Any]]:
    """Read a table back: numbers are floats, NaN where the cell is empty."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise UserError(f"Cannot read the table {path}: {error.strerror}.") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path} is no per-utterance table: it lacks the columns {', '.join(missing)}.")
    numbers = present_numbers(rows)
    return [{**row, **{name: float(row[name] or "nan") for name in numbers}} for row in rows]


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6f}"
