"""The length of a training: optimizer steps, minutes or epochs, whichever ends first."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.training.ranks import highest_of_ranks


class Budget:
    """Count the training done and report the share of the allowance that is spent.

    Only training counts: the clock stands still during validation, so that two models with the same minutes
    have trained for the same time. The state is saved in every checkpoint; a resumed run keeps its clock.

    Arguments
    ---------
    max_epochs : int
        Passes over the training set.
    max_steps : int, optional
        Optimizer steps; none if not given.
    max_minutes : float, optional
        Minutes of training; none if not given.

    Raises
    ------
    UserError
        If a limit is zero or negative.

    Example
    -------
    >>> budget = Budget(max_epochs=10, max_steps=4)
    >>> budget.count_step(epoch_share=0.1)
    >>> budget.progress
    0.25
    """

    def __init__(self, max_epochs: int, max_steps: int | None = None, max_minutes: float | None = None) -> None:
        for name, limit in (("N_epochs", max_epochs), ("max_steps", max_steps), ("max_minutes", max_minutes)):
            if limit is not None and limit <= 0:
                raise UserError(f"{name} must be positive, got {limit}. Leave it out for no limit.")
        self.max_epochs, self.max_steps, self.max_minutes = max_epochs, max_steps, max_minutes
        self.steps, self.seconds, self.epochs = 0, 0.0, 0.0
        self._since: float | None = None

    def start_clock(self) -> None:
        """Start to count time; call it when a training stage starts."""
        self._since = time.monotonic()

    def stop_clock(self) -> None:
        """Stop to count time; call it when a training stage ends."""
        self._read_clock()
        self._since = None

    def count_step(self, epoch_share: float) -> None:
        """Count one optimizer step that was taken; `epoch_share` is the number of epochs done, with its fraction."""
        self.steps += 1
        self.epochs = epoch_share
        self._read_clock()

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, from 0 to 1."""
        shares = [self.epochs / self.max_epochs]
        if self.max_steps is not None:
            shares.append(self.steps / self.max_steps)
        if self.max_minutes is not None:
            shares.append(self.seconds / 60.0 / self.max_minutes)
        return min(1.0, max(shares))

    @property
    def seconds_left(self) -> float:
        """Seconds of training that are left if it goes on as it went; NaN before the first step."""
        return self.seconds * (1.0 - self.progress) / self.progress if self.progress else math.nan

    @property
    def spent(self) -> bool:
        """Whether the steps or the minutes are used up (epochs are counted by the epoch counter)."""
        self._read_clock()
        steps_spent = self.max_steps is not None and self.steps >= self.max_steps
        minutes_spent = self.max_minutes is not None and self.seconds >= 60.0 * self.max_minutes
        return steps_spent or minutes_spent

    def save(self, path: str | Path) -> None:
        """Write the counts to a checkpoint file."""
        write_whole(path, json.dumps({"steps": self.steps, "seconds": self.seconds, "epochs": self.epochs}))

    def load(self, path: str | Path, end_of_epoch: bool = True) -> None:
        """Read the counts from a checkpoint file."""
        state: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.steps, self.seconds, self.epochs = state["steps"], state["seconds"], state["epochs"]

    def _read_clock(self) -> None:
        if self._since is not None:
            now = time.monotonic()
            seconds = self.seconds + now - self._since
            # Ranks read their clocks at the same lines, and end after the same step.
            self.seconds = seconds if self.max_minutes is None else highest_of_ranks(seconds)
            self._since = now
