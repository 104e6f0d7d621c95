"""PESQ of training clips, computed in processes of their own while the next step runs. B batch, T samples."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

import torch
from torch import Tensor

from lobes.evaluation.job import ScoreJob
from lobes.evaluation.pool import WorkerPool


class PesqLabels:
    """Ask for the PESQ of a batch now, and take it at the next step.

    A clip without a PESQ (silence, nothing that PESQ takes for speech) is NaN: it masks itself, not the batch.

    Arguments
    ---------
    workers : int
        Processes.
    sample_rate : int
        In Hz: 8000 or 16000.
    timeout : float
        Seconds for one clip.
    """

    def __init__(self, workers: int, sample_rate: int, timeout: float = 60.0) -> None:
        self.sample_rate = sample_rate
        self.waited = 0.0  # seconds that `collect` has spent waiting
        self._pool = WorkerPool(workers, timeout)
        self._asked: list[Future[dict[str, Any]]] = []

    def ask(self, estimates: Tensor, targets: Tensor) -> None:
        """Start to score `estimates` [B, T] against `targets` [B, T]."""
        pairs = zip(estimates.detach().float().cpu().numpy(), targets.detach().float().cpu().numpy(), strict=True)
        for index, (estimate, target) in enumerate(pairs):
            columns = (estimate[:, None], target[:, None], target)
            job = ScoreJob(str(index), *columns, self.sample_rate, ("pesq",), improvement=False)
            self._asked.append(self._pool.submit(job))

    def collect(self) -> Tensor:
        """Wait for what was asked: PESQ [B] in the order of the clips, NaN where there is none."""
        start = time.perf_counter()
        values = [float(future.result()["pesq"]) for future in self._asked]
        self.waited += time.perf_counter() - start
        self._asked = []
        return torch.tensor(values)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()
