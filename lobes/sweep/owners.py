"""Which worker trains a trial, and whether that worker is still alive.

On this machine the processes say so. A worker elsewhere counts up a number in the storage; one whose number has stood
still for two minutes of the clock here has ended, whatever its own clock says.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

WORKER, BEAT = "worker", "beat"  # attributes of a trial
BEAT_S, GRACE_S = 20.0, 120.0


@cache
def this_worker() -> dict[str, Any]:
    """The machine and the process that this is.

    Example
    -------
    >>> this_worker()["pid"] == os.getpid()
    True
    """
    started = psutil.Process().create_time()
    return {"host": f"{platform.node()} {uuid.getnode():x}", "pid": os.getpid(), "started": started}


def is_process(worker: dict[str, Any]) -> bool:
    """Whether a worker of this machine is still the process that it was.

    Example
    -------
    >>> is_process(this_worker()), is_process({**this_worker(), "started": 0.0})
    (True, False)
    """
    try:
        process = psutil.Process(worker["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - worker["started"]) < 1.0
    except psutil.NoSuchProcess:
        return False


class TrialWatch:
    """Follow the running trials of all workers, to find those whose worker has ended.

    Arguments
    ---------
    grace_s : float
        Seconds for which the number of a worker elsewhere may stand still.
    clock : function
        Seconds that only go up.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> seconds = iter([0.0, 100.0, 221.0])
    >>> watch = TrialWatch(120.0, lambda: next(seconds))
    >>> beats = [SimpleNamespace(number=3, user_attrs={"worker": {"host": "there"}, "beat": n}) for n in (1, 2, 2)]
    >>> [watch.is_left(trial) for trial in beats]
    [False, False, True]
    """

    def __init__(self, grace_s: float = GRACE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.grace_s, self.clock = grace_s, clock
        self._seen: dict[int, tuple[Any, float]] = {}  # number of the trial -> its beat, and when that was first seen

    def is_left(self, trial: FrozenTrial) -> bool:
        """Whether nobody trains a running trial any more."""
        worker, now = trial.user_attrs.get(WORKER), self.clock()
        if worker and worker["host"] == this_worker()["host"]:
            return not is_process(worker)
        beat = (worker, trial.user_attrs.get(BEAT))
        if self._seen.get(trial.number, (None, now))[0] != beat:
            self._seen[trial.number] = (beat, now)
        return now - self._seen[trial.number][1] > self.grace_s
