"""Learning rate: any torch scheduler, under a linear warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from lobes.errors import UserError
from lobes.training.budget import Budget


class BudgetCosine(LambdaLR):
    """Cosine decay over the training budget, whatever its unit: steps, minutes or epochs.

    Arguments
    ---------
    optimizer : torch.optim.Optimizer
    budget : Budget
        Knows the share of the training that is done.
    final_share : float
        Learning rate at the end, as a share of the first.

    Example
    -------
    >>> budget = Budget(max_epochs=1, max_steps=2)
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> schedule = BudgetCosine(optimizer, budget)
    >>> budget.count_step(0.5); optimizer.step(); schedule.step()
    >>> round(optimizer.param_groups[0]["lr"], 3)
    0.5
    """

    def __init__(self, optimizer: torch.optim.Optimizer, budget: Budget, final_share: float = 0.0) -> None:
        def share(_: int) -> float:
            return final_share + (1.0 - final_share) * 0.5 * (1.0 + math.cos(math.pi * budget.progress))

        super().__init__(optimizer, share)


class WarmupSchedule:
    """Multiply the learning rate of any torch scheduler with a linear warm-up.

    A checkpoint keeps what was built next to what has become of it. So a run that goes on with other settings, such as
    another learning rate, weight decay or step size, takes these from the optimizer and the scheduler that it is built
    with, and all else from the checkpoint.

    Arguments
    ---------
    optimizer : torch.optim.Optimizer
    scheduler : callable, optional
        Makes a torch scheduler from an optimizer, as `!name:torch.optim.lr_scheduler.X` does; constant if not given.
    warmup_steps : int
        Optimizer steps until the full learning rate is reached.
    interval : str
        When the scheduler steps: "step" or "epoch". `ReduceLROnPlateau` always steps once an epoch, on the metric.

    Raises
    ------
    UserError
        If the interval is another word.

    Example
    -------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> schedule = WarmupSchedule(optimizer, None, warmup_steps=4)
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: Callable[[torch.optim.Optimizer], LRScheduler] | None,
        warmup_steps: int = 0,
        interval: str = "epoch",
    ) -> None:
        if interval not in ("step", "epoch"):
            raise UserError(f"lr_scheduler_interval must be 'step' or 'epoch', got {interval!r}.")
        self.optimizer, self.warmup_steps, self.interval = optimizer, warmup_steps, interval
        self.scheduler = scheduler(optimizer) if scheduler is not None else None
        self.steps = 0
        self.scheduled = [group["lr"] for group in optimizer.param_groups]
        self._built: dict[str, Any] = deepcopy(
            {"groups": self._groups(), "scheduler": self._inner(), "kind": self._kind}
        )
        self._apply_warmup()

    def after_step(self) -> None:
        """Call after every optimizer step."""
        self.steps += 1
        if self.interval == "step" and not isinstance(self.scheduler, ReduceLROnPlateau):
            self._advance()
        self._apply_warmup()

    def after_epoch(self, metric: float) -> None:
        """Call after every validation, with the monitored metric (higher is better)."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self._advance(metric if math.isfinite(metric) else -math.inf)
        elif self.interval == "epoch":
            self._advance()
        self._apply_warmup()

    @property
    def lr(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"steps": self.steps, "scheduled": self.scheduled, "scheduler": self._inner(), "built": self._built}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint; the optimizer, and what the scheduler asks, must have been loaded before."""
        new, old = self._built, state.get("built", self._built)  # not in checkpoints of earlier versions
        self.steps = state["steps"]
        if new["kind"] == old["kind"]:
            rates = zip(state["scheduled"], new["groups"], old["groups"], strict=True)
            self.scheduled = [_rescaled(lr, now["lr"], then["lr"]) for lr, now, then in rates]
            if self.scheduler is not None:
                vars(self.scheduler).update(_unless_rebuilt(state["scheduler"], new["scheduler"], old["scheduler"]))
        for group, now, then in zip(self.optimizer.param_groups, new["groups"], old["groups"], strict=True):
            group.update({key: value for key, value in now.items() if value != then.get(key)})
        if isinstance(self.scheduler, LambdaLR) and self.interval == "step":  # another budget, another share of it
            shares = zip(self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True)
            self.scheduled = [base * share(self.scheduler.last_epoch) for base, share in shares]
        self._apply_warmup()

    @property
    def _kind(self) -> str:
        return type(self.scheduler).__name__

    def _groups(self) -> list[dict[str, Any]]:
        return [{key: value for key, value in g.items() if key != "params"} for g in self.optimizer.param_groups]

    def _inner(self) -> dict[str, Any] | None:
        if self.scheduler is None:
            return None
        # the lambdas of a LambdaLR cannot be saved, and need not be
        return {key: value for key, value in self.scheduler.state_dict().items() if key != "lr_lambdas"}

    def _advance(self, *metric: float) -> None:
        # A scheduler may compute the next rate from the last one: give it its own, without the warm-up.
        self._set(self.scheduled)
        assert self.scheduler is not None or not metric
        if self.scheduler is not None:
            self.scheduler.step(*metric)  # type: ignore[arg-type]
        self.scheduled = [group["lr"] for group in self.optimizer.param_groups]

    def _apply_warmup(self) -> None:
        share = min(1.0, (self.steps + 1) / self.warmup_steps) if self.warmup_steps > 0 else 1.0
        self._set([lr * share for lr in self.scheduled])

    def _set(self, rates: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr


def _rescaled(lr: float, new: float, old: float) -> float:
    """A rate that the scheduler has come to, for another rate at the start."""
    if new == old:
        return lr
    return lr * new / old if old else new


def _unless_rebuilt(now: dict[str, Any], new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """What has become of a scheduler's values, without those that this run was built with otherwise."""
    return {key: value for key, value in now.items() if new.get(key) == old.get(key)}
