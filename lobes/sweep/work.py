"""A worker of a sweep: it takes trials, trains some at a time, and ends when all trials of all workers have ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState

from lobes.errors import UserError
from lobes.runs.launcher import ending_on_sigterm
from lobes.sweep.owners import BEAT_S, TrialWatch
from lobes.sweep.queue import OPEN, counted, next_trial
from lobes.sweep.sweep_file import Sweep
from lobes.sweep.trial_run import TrialRun, run_of

POLL_S = 0.25  # between two looks at the trainings
LOOK_S = 2.0  # between two looks for a trial where there was none
FAILURES = 3  # in a row that end a worker: then it is not the values that are wrong


def work(sweep: Sweep, study: Study, folder: Path, at_a_time: int = 1, threads: int = 0) -> None:
    """Train trials until none is left, here or elsewhere.

    Arguments
    ---------
    sweep : Sweep
    study : Study
        Shared by all workers.
    folder : Path
        For the trainings.
    at_a_time : int
        Trials that this worker trains at a time.
    threads : int
        CPU threads of each training; 0 leaves the choice to the machine.

    Raises
    ------
    UserError
        If three trials in a row fail, or a training is stopped.
    """
    active: list[TrialRun] = []
    watch, pulse, failures = TrialWatch(), time.monotonic(), 0
    with ending_on_sigterm(), _stopping(active):
        while True:
            begin = time.monotonic()
            while len(active) < at_a_time and (trial := next_trial(sweep, study, watch, folder)):
                active.append(TrialRun(sweep, trial, run_of(sweep, trial, folder, threads)))
            if not active and not _waits_for_others(study):
                return
            ended = _follow(active, until=begin + LOOK_S)
            for run in ended:
                failures = failures + 1 if run.state == TrialState.FAIL and not run.is_lost else 0
                _say(run, failures)
            if time.monotonic() - pulse > BEAT_S:
                pulse = time.monotonic()
                for run in active:
                    run.beat()


def _follow(active: list[TrialRun], until: float) -> list[TrialRun]:
    """Follow the trainings until one has ended, or it is time to look for a trial."""
    ended: list[TrialRun] = []
    while not ended and time.monotonic() < until:
        time.sleep(POLL_S)
        ended = [run for run in active if run.poll()]
        active[:] = [run for run in active if run not in ended]
    return ended


def _waits_for_others(study: Study) -> bool:
    """Whether trials of other workers are left: one of these may be killed."""
    return any(trial.state in OPEN for trial in counted(study))


@contextlib.contextmanager
def _stopping(active: list[TrialRun]) -> Iterator[None]:
    """Stop the trainings that are left, in order, when this worker ends; the next one takes them up."""
    try:
        yield
    finally:
        for run in active:
            run.stop()
        for run in active:
            run.wait()


def _say(run: TrialRun, failures: int) -> None:
    words = {
        TrialState.COMPLETE: f"trained, score {run.score:.4g}",
        TrialState.PRUNED: f"stopped after epoch {max(run.scores, default=0)}, score {run.score:.4g}",
    }
    text = "taken by another worker" if run.is_lost else words.get(run.state or TrialState.FAIL, "failed")
    print(f"{run.run.name}: {text}", flush=True)
    if failures >= FAILURES:
        raise UserError(f"{failures} trials in a row failed, the last one with {run.reason}.")
