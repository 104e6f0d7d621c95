"""One trial: a training in a process of its own. Its learning curve is followed, and a poor one is stopped."""

from __future__ import annotations

import math
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from lobes.config.recipe_folders import script_of
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.launcher import STOPPED, Run, start, training_processes
from lobes.runs.record import curve, number
from lobes.sweep.owners import BEAT
from lobes.sweep.queue import finish, number_of_folder
from lobes.sweep.sweep_file import Sweep

REASON, EPOCHS = "reason", "epochs"  # attributes of a trial
TRIALS = "trials"  # below the sweep's folder
ALWAYS = {"ckpt_interval_minutes": "2"}  # a trial goes on from there when its worker was killed
CHOOSES = ("valid_pesq", "valid_si_sdri")  # the columns that choose a checkpoint; enhancement has both
TO_END_S = 60.0  # for a training that its worker has left to save and end


def run_of(sweep: Sweep, trial: Trial, folder: Path, threads: int) -> Run:
    """The training of a trial."""
    place = folder / TRIALS / f"{number_of_folder(trial):04d}"
    values = {key: typed_value(value) for key, value in trial.params.items()}
    options = {**ALWAYS, **sweep.options, **values}
    name = f"trial {number_of_folder(trial)}"
    return Run(name, script_of(sweep.recipe), str(sweep.recipe), place, options, ("noprogressbar",), threads)


def typed_value(value: str | float) -> str:
    """A value that Optuna chose as one types it.

    Example
    -------
    >>> typed_value(0.0001), typed_value(3), typed_value("lstm")
    ('0.0001', '3', 'lstm')
    """
    return value if isinstance(value, str) else repr(value)


class TrialRun:
    """A trial that this worker trains.

    Arguments
    ---------
    sweep : Sweep
    trial : Trial
        As Optuna has made it.
    run : Run
        Its training, which goes on where it stopped.
    """

    def __init__(self, sweep: Sweep, trial: Trial, run: Run) -> None:
        self.sweep, self.trial, self.run = sweep, trial, run
        self.scores: dict[int, float] = {}  # by epoch
        self.state: TrialState | None = None  # decided, while the process ends
        self.is_lost = False  # another worker has taken it
        self.reason = ""  # of a failure
        self._beats = 0
        _end_left(run.folder)
        self.process: subprocess.Popen[bytes] | None = None if self._trained() else start(run, console=False)

    def poll(self) -> bool:
        """Look at the learning curve and the process; whether the trial has ended.

        Raises
        ------
        UserError
            If somebody has stopped the training.
        """
        news = self._report()
        code = 0 if self.process is None else self.process.poll()
        if code is None:
            self._decide(news)
            return False
        self._report()  # what came between
        self._end(code)
        return True

    def beat(self) -> None:
        """Show the workers elsewhere that this one is alive."""
        self._beats += 1
        self._write(BEAT, self._beats)

    def stop(self) -> None:
        """End the training in order; another worker, or this one, may go on with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self) -> None:
        """Wait until it has ended."""
        if self.process is not None:
            self.process.wait()

    @property
    def score(self) -> float:
        """The best score so far; minus infinity if there is none."""
        return max((score for score in self.scores.values() if math.isfinite(score)), default=-math.inf)

    def _trained(self) -> bool:
        """Whether the training is over; the test, which comes next, is nothing to choose by."""
        return (self.run.folder / names.TRAIN_TIME).is_file()

    def _report(self) -> bool:
        """Give the scores of new epochs to the study; whether there were any."""
        rows = {int(number(row["epoch"])): row for row in curve(self.run.folder)}
        new = [epoch for epoch in rows if epoch not in self.scores]
        for epoch in new:
            self.scores[epoch] = score_of(rows[epoch], self.sweep.score)
            self._write_score(epoch)
        return bool(new)

    def _decide(self, news: bool) -> None:
        if self.state is None and not self.is_lost:
            if self._trained():
                self.state = TrialState.COMPLETE
            elif news and self.trial.should_prune():
                self.state = TrialState.PRUNED
        if self.state is not None or self.is_lost:
            self.stop()

    def _end(self, code: int) -> None:
        state = self.state or (TrialState.COMPLETE if self._trained() else TrialState.FAIL)
        if state == TrialState.FAIL and code in STOPPED and not self.is_lost:
            raise UserError(f"{self.run.name} was stopped by a signal (exit code {code}); the same command goes on.")
        if state == TrialState.FAIL:
            self.reason = f"exit code {code}, see {self.run.folder / names.CONSOLE}"
        elif not math.isfinite(self.score):
            state, self.reason = TrialState.FAIL, "no finite score in any epoch"
        self._write(EPOCHS, max(self.scores, default=0))
        if self.reason:
            self._write(REASON, self.reason)
        value = None if state == TrialState.FAIL else self.score
        self.state = state
        self.is_lost |= not finish(self.trial, state, value)

    def _write_score(self, epoch: int) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a step that was reported by the worker before
                self.trial.report(self.scores[epoch], epoch)
        except UpdateFinishedTrialError:
            self.is_lost = True

    def _write(self, key: str, value: str | int) -> None:
        try:
            self.trial.set_user_attr(key, value)
        except UpdateFinishedTrialError:
            self.is_lost = True


def score_of(row: Mapping[str, str], column: str | None) -> float:
    """The score of an epoch, a row of the learning curve.

    Raises
    ------
    UserError
        If the curve has no such column.

    Example
    -------
    >>> score_of({"epoch": "1", "valid_si_sdri": "3.5"}, None)
    3.5
    """
    found = column or next((name for name in CHOOSES if name in row), CHOOSES[-1])
    if found not in row:
        raise UserError(f"score: the learning curve has no column {found}; it has {', '.join(row)}.")
    return number(row[found])


def _end_left(folder: Path) -> None:
    """End the training that a worker has left when it was killed: it saves, and then this worker goes on."""
    left = training_processes(folder)
    for process in left:
        process.terminate()
    _, alive = psutil.wait_procs(left, TO_END_S)
    for process in alive:
        process.kill()
