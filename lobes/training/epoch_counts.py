"""What is counted in the course of an epoch: with it a resumed run writes the learning curve of an undisturbed one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class EpochCounts:
    """Losses, steps, skips and parts of the loss in this epoch; a checkpoint within the epoch carries them.

    The skipped steps in a row and the last learning rate go on from one epoch to the next.

    Example
    -------
    >>> counts = EpochCounts(lr=0.1)
    >>> counts.count_step(2.0); counts.count_skip(); counts.add_part("phase", 0.5)
    >>> later = EpochCounts()
    >>> later.load(counts.state(), end_of_epoch=False)
    >>> later.begin_epoch()
    >>> later == counts, later.mean_parts()
    (True, {'phase': 0.5})
    >>> later.begin_epoch()
    >>> later.taken, later.skipped, later.skipped_in_a_row
    (0, 0, 1)
    """

    losses: int = 0  # finite ones, in the mean of the training loss
    taken: int = 0  # steps
    skipped: int = 0  # steps
    skipped_in_a_row: int = 0
    lr: float = math.nan  # learning rate of the last step
    grad_norm: float = 0.0  # sum over the steps taken
    parts: dict[str, list[float]] = field(default_factory=dict)  # of the loss, by name: sum and count
    _loaded: bool = field(default=False, compare=False)

    def begin_epoch(self) -> None:
        """Start from zero, unless a checkpoint of this epoch has just been loaded."""
        if not self._loaded:
            self.clear()
        self._loaded = False

    def clear(self) -> None:
        """Forget what belongs to one epoch."""
        self.losses, self.taken, self.skipped, self.grad_norm = 0, 0, 0, 0.0
        self.parts = {}

    def count_step(self, grad_norm: float) -> None:
        """Count a step that was taken."""
        self.taken += 1
        self.grad_norm += grad_norm
        self.skipped_in_a_row = 0

    def count_skip(self) -> None:
        """Count a step that was skipped."""
        self.skipped += 1
        self.skipped_in_a_row += 1

    def add_part(self, name: str, value: float) -> None:
        """Count a part of a batch's loss."""
        total, number = self.parts.get(name, [0.0, 0])
        self.parts[name] = [total + value, number + 1]

    def mean_parts(self) -> dict[str, float]:
        """The mean of each part over the batches that had it."""
        return {name: total / number for name, (total, number) in self.parts.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, ready for JSON, which keeps every digit."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def load(self, state: Mapping[str, Any], end_of_epoch: bool) -> None:
        """Go on from a checkpoint; the next epoch does not begin from zero if it was written within one."""
        vars(self).update(state)
        self._loaded = not end_of_epoch
