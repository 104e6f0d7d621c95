"""Score many utterances, in this process or in several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from lobes.evaluation.job import ScoreJob, score_job
from lobes.evaluation.journal import Journal
from lobes.evaluation.pool import score_in_processes
from lobes.runs.provenance import usable_cores

ITEMS_PER_WORKER = 100  # a worker takes 8 s of a core to start, an item of 4 s about 0.1 s to score


def score_many(
    jobs: Iterable[ScoreJob],
    workers: int | None = None,
    timeout: float = 120.0,
    progress: bool = True,
    total: int | None = None,
    journal: Journal | None = None,
) -> list[dict[str, Any]]:
    """Score the jobs, with a progress bar on a terminal.

    Arguments
    ---------
    jobs : iterable of ScoreJob
        Taken as they are needed, so a generator that runs the model holds only a few utterances in memory.
    workers : int, optional
        Processes in addition to this one; 0 scores here. By default as many as pay for their start.
    timeout : float
        Seconds for one job in a worker, a new worker's imports (about 8 s) included; then the worker is
        replaced and the row says "timeout". With 0 workers there is no limit.
    progress : bool
        Show the bar.
    total : int, optional
        How many jobs there will be, for the bar; by default what `jobs` says of itself.
    journal : Journal, optional
        Keeps the rows as they come, and has those of a scoring that was stopped.

    Returns
    -------
    list of dict
        One row per job, ordered by the ID, then by the conditions. A job that killed its worker says "worker
        crashed".

    Raises
    ------
    UserError
        Where a job's shapes do not fit together; it names the job.

    Example
    -------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((8000, 1))
    >>> job = ScoreJob("b", x, x, x[:, 0], 8000, metrics=("si_sdr",), improvement=False)
    >>> rows = score_many([job], workers=0)
    >>> rows[0]["id"], rows[0]["si_sdr"], rows[0]["status"]
    ('b', 100.0, 'ok')
    """
    from tqdm import tqdm

    total = len(jobs) if total is None and isinstance(jobs, Sized) else total
    workers = default_workers(total) if workers is None else workers
    jobs = jobs if journal is None else journal.left(jobs)
    rows: Iterator[dict[str, Any]] = map(score_job, jobs)
    if workers > 0:
        rows = score_in_processes(jobs, workers, timeout)
    rows = rows if journal is None else journal.keep(rows)
    bar = tqdm(rows, total=total, desc="scoring", unit="item", disable=None if progress else True)
    return in_order(bar)


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by the ID, then by the conditions.

    Example
    -------
    >>> [row["id"] for row in in_order([{"id": "b", "si_sdr": 1.0}, {"id": "a", "si_sdr": 2.0}])]
    ['a', 'b']
    """
    return sorted(rows, key=lambda row: [value for value in row.values() if isinstance(value, str)])


def default_workers(items: int | None, cores: int | None = None) -> int:
    """One worker per core that this process may use, and per 100 items; unknown many items get them all."""
    cores = usable_cores() if cores is None else cores
    wanted = cores if items is None else min(cores, items // ITEMS_PER_WORKER)
    return wanted if wanted > 1 else 0  # one worker would only do what this process can do itself
