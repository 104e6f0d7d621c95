"""No non-finite value ever reaches the weights: such a step is skipped, counted and its utterances are named."""

from __future__ import annotations

import logging
import math
from typing import Any

import speechbrain as sb
import torch
from torch.distributed import ReduceOp, all_reduce, is_available, is_initialized

from lobes.errors import UserError
from lobes.training.epoch_counts import EpochCounts
from lobes.training.optim import average_over_ranks
from lobes.training.out_of_memory import naming_the_batch

logger = logging.getLogger(__name__)


class SafeStepBrain(sb.Brain):
    """A Brain whose optimizer step is skipped when a loss or a gradient is not finite.

    `nonfinite_patience` skipped steps in a row stop the training with the names of the utterances. A skipped step
    does not enter the average loss. Gradients of all groups are clipped together (SpeechBrain clips the first only).

    A step takes the mean gradient of a window of `grad_accumulation_factor` batches. The last window of an epoch steps
    with the batches that it holds, where SpeechBrain drops it.

    Example
    -------
    >>> class Line(SafeStepBrain):
    ...     def compute_forward(self, batch, stage):
    ...         return self.modules.line(batch[0])
    ...     def compute_objectives(self, predictions, batch, stage):
    ...         return (predictions - batch[1]).square().mean()
    >>> sgd = lambda parameters: torch.optim.SGD(parameters, 0.1)
    >>> brain = Line({"line": torch.nn.Linear(2, 1)}, sgd, run_opts={"noprogressbar": True})
    >>> spoilt = torch.utils.data.TensorDataset(torch.ones(1, 2), torch.full((1, 1), float("nan")))
    >>> brain.fit(range(1), torch.utils.data.DataLoader(spoilt))
    >>> brain.counts.skipped, bool(torch.isfinite(brain.modules.line.weight).all())
    (1, True)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counts = EpochCounts()
        self._stage_counts = self.counts  # in validation, others: those of the training go into the learning curve
        self._open_window()

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start the counts of a stage."""
        self._stage_counts = self.counts if stage == sb.Stage.TRAIN else EpochCounts()
        if stage == sb.Stage.TRAIN:
            self.counts.begin_epoch()
            self._open_window()

    def on_fit_batch_start(self, batch: Any, should_step: bool) -> None:
        """Remember whose utterances are in the accumulation window."""
        self._window_batches += 1
        self._window_ids += [str(item) for item in getattr(batch, "id", [])]

    def check_loss_isfinite(self, loss: torch.Tensor) -> None:
        """Note a non-finite loss; the step that it belongs to will be skipped."""
        self._window_is_finite &= bool(torch.isfinite(loss))

    def zero_grad(self, set_to_none: bool = False) -> None:
        """SpeechBrain calls this after the last batch of an epoch, whose window may still wait for its step."""
        if self._window_batches:
            self.optimizers_step()
        super().zero_grad(set_to_none)

    def optimizers_step(self) -> None:
        """Step if the loss and all gradients of the window are finite, on all ranks; else skip and count."""
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self._window_batches < self.grad_accumulation_factor:
            self._complete(parameters)
        limit = self.max_grad_norm if self.max_grad_norm > 0 else math.inf
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        taken = self._all_ranks_finite(norm)
        if taken:
            self.scaler.step(self.optimizer)
            self._count_step(float(norm))
        else:
            self._count_skip()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._open_window()
        if taken:
            self.on_step_taken()

    def on_step_taken(self) -> None:
        """Called after every optimizer step that was taken; a skipped one advances nothing."""

    def update_average(self, loss: torch.Tensor, avg_loss: float) -> float:
        """Mean over the finite losses; a skipped batch does not enter it."""
        if not torch.isfinite(loss):
            return avg_loss
        self._stage_counts.losses += 1
        return avg_loss + (float(loss) - avg_loss) / self._stage_counts.losses

    def fit_batch(self, batch: Any) -> torch.Tensor:
        """Train on one batch; where the memory does not suffice, one line says for what."""
        with naming_the_batch(batch, sb.Stage.TRAIN, self):
            return super().fit_batch(batch)

    def evaluate_batch(self, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """Evaluate one batch, with the same."""
        with naming_the_batch(batch, stage, self):
            return super().evaluate_batch(batch, stage)

    def _should_save_intra_epoch_ckpt(self, *args: Any) -> bool:
        """A checkpoint holds no gradients: one that falls due in an open window is written at the end of it."""
        wanted = super()._should_save_intra_epoch_ckpt(*args)  # all ranks agree in there
        return bool(wanted) and not self.window_is_open

    @property
    def window_is_open(self) -> bool:
        """Whether batches wait for their step."""
        return self._window_batches > 0

    def _open_window(self) -> None:
        self._window_batches = 0
        self._window_ids: list[str] = []
        self._window_is_finite = True

    def _complete(self, parameters: list[torch.nn.Parameter]) -> None:
        """The mean gradient of a window that an epoch's end cut short.

        Each batch has entered by 1 / `grad_accumulation_factor`, and none has been sent to the other ranks, which
        SpeechBrain does with the last batch of a whole window.
        """
        average_over_ranks(parameters)
        share = self.grad_accumulation_factor / self._window_batches
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], share)

    def _all_ranks_finite(self, norm: torch.Tensor) -> bool:
        finite = torch.isfinite(norm).float() * float(self._window_is_finite)
        if is_available() and is_initialized():
            all_reduce(finite, op=ReduceOp.MIN)
        return bool(finite > 0)

    def _count_step(self, norm: float) -> None:
        self.optimizer_step += 1
        self.counts.count_step(norm)

    def _count_skip(self) -> None:
        self.counts.count_skip()
        names = ", ".join(self._window_ids) or "unknown"
        what = "gradient" if self._window_is_finite else "loss"
        logger.warning("step skipped: non-finite %s (utterances: %s)", what, names)
        if self.counts.skipped_in_a_row >= self.nonfinite_patience:
            raise UserError(
                f"{self.counts.skipped_in_a_row} steps in a row had a non-finite {what}; the last utterances: {names}. "
                "The weights are still finite. Lower lr, train with precision fp32, or look at these files."
            )
