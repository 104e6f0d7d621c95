"""Going on after a kill as if nothing had happened, and ending in order on a signal."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.utils.distributed import if_main_process, main_process_only

from lobes.data.files import write_whole
from lobes.training.random_state import RandomState, seed_rank
from lobes.training.ranks import number_of_ranks, rank_here
from lobes.training.safe_step import SafeStepBrain
from lobes.training.signals import Stopped, StopSignals

logger = logging.getLogger(__name__)


class ResumingBrain(SafeStepBrain):
    """A Brain whose checkpoints hold all that decides what comes next, at any step between two windows of accumulation.

    That is, next to the weights, the optimizer, the schedule and the budget: the place in the epoch, the counts of the
    epoch and the generators of all ranks. An intra-epoch checkpoint is also written at the end of each training stage,
    so that a kill in the validation costs the validation alone.

    `hparams` holds `budget`, `epoch_counter` and `seed`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.random, self.signals = RandomState(), StopSignals()
        self.begin_step = 0  # steps that had been taken when this process began
        self.batches_per_epoch = 1
        self._batch_size: int | None = None
        self._saved_layout: dict[str, Any] = {}  # of the batches, in the checkpoint that was loaded
        self.is_mid_epoch = False  # whether it was written within an epoch

    # ---- what a checkpoint holds

    def keep_in_checkpoints(self, name: str, item: Any, load: Callable[..., None], save: Callable[..., None]) -> None:
        """Add an object to the checkpoints; one that checkpoints of earlier versions lack stays as it is."""
        self.checkpointer.add_recoverable(name, item, load, save, optional_load=True)

    def init_optimizers(self) -> None:
        """Add the place in the epoch, its counts and the generators to the checkpoints, after what a subclass makes."""
        if self.checkpointer is not None:
            self.keep_in_checkpoints("epoch", self, _load_epoch, _save_epoch)
            self.keep_in_checkpoints("random", self.random, RandomState.load, main_process_only(RandomState.save))

    def save_checkpoint(self, end_of_epoch: bool, **options: Any) -> Any:
        """Write a checkpoint, on all ranks; returns it, or None where it could not be written."""
        self.random.gather()
        meta = {"step": self.hparams.budget.steps, "epoch": self.hparams.epoch_counter.current}
        meta |= {"batch": 0 if end_of_epoch else self.step, **options.pop("meta", {})}
        return self.checkpointer.save_and_keep_only(meta=meta, end_of_epoch=end_of_epoch, **options)

    def _save_intra_epoch_ckpt(self) -> None:
        """SpeechBrain calls this after a batch, where `_should_save_intra_epoch_ckpt` says so."""
        self._save_within_epoch()
        self._end_if_signalled()

    def _save_within_epoch(self) -> None:
        self.save_checkpoint(
            end_of_epoch=False,
            importance_keys=[],  # SpeechBrain's default is a list that grows with each call
            ckpt_predicate=lambda one: INTRA_EPOCH_CKPT_FLAG in one.meta,
            meta={INTRA_EPOCH_CKPT_FLAG: True},
            verbosity=logging.DEBUG,
        )

    def _should_save_intra_epoch_ckpt(self, *args: Any) -> bool:
        """A signal, too, is a reason to save, at the end of a window."""
        signalled = not self.window_is_open and self.signals.agreed(self.device)
        return signalled or super()._should_save_intra_epoch_ckpt(*args)

    @property
    def _saves_within_epochs(self) -> bool:
        wanted = self.ckpt_interval_minutes > 0 or self.ckpt_interval_steps > 0
        return wanted and self.step > 0 and not self.debug

    # ---- a start that goes on

    def on_fit_start(self) -> None:
        """Go on from the newest checkpoint: in its epoch, where it was written within one."""
        seed_rank(self.hparams.seed, rank_here())
        super().on_fit_start()
        self.begin_step = self.hparams.budget.steps
        changed = {key: now for key, now in self._layout().items() if self._saved_layout.get(key, now) != now}
        words = []
        if "ranks" in changed:
            words = [f"{self._saved_layout['ranks']} ranks before, {changed['ranks']} now"]
        if self.is_mid_epoch and not self._find_place(bool(changed)):
            epoch = self.hparams.epoch_counter.current + 1
            words.append(f"epoch {epoch} starts again, since its batches hold other items")
        if words and if_main_process():
            logger.info("; ".join(words))

    def _find_place(self, changed: bool) -> bool:
        """Set the loader's place in the epoch; with batches of other items, nobody knows which are still to come."""
        done = self.step >= self._saved_layout.get("batches_per_epoch", self.step + 1)
        known = done or not changed
        if not known:
            self.step: int = 0
            self.avg_train_loss: float = 0.0
            self.counts.clear()
        self._train_loader._speechbrain_recovery_skip_to = self.batches_per_epoch if done else self.step
        return known

    def _layout(self) -> dict[str, Any]:
        """What decides which items stand in which batch, but for the seed and the epoch."""
        return {"ranks": number_of_ranks(), "batch_size": self._batch_size, "batches_per_epoch": self.batches_per_epoch}

    def make_dataloader(self, dataset: Any, stage: sb.Stage, *args: Any, **kwargs: Any) -> Any:
        """SpeechBrain's loader, whose place in the epoch a checkpoint knows."""
        loader = super().make_dataloader(dataset, stage, *args, **kwargs)
        if stage == sb.Stage.TRAIN:
            self._train_loader = loader
            self.batches_per_epoch, self._batch_size = len(loader), loader.batch_size
        return loader

    def _fit_train(self, train_set: Any, epoch: int, enable: bool) -> None:
        super()._fit_train(self.random.resuming(train_set), epoch, enable)

    # ---- signals

    @contextmanager
    def ending_in_order(self) -> Iterator[None]:
        """Train or test in here: SIGTERM or SIGINT raise `Stopped`, which ends the process with its code."""
        with self.signals.handled():
            try:
                yield
            except Stopped as stopped:
                if if_main_process():
                    step, name, code = self.hparams.budget.steps, stopped.name, stopped.code
                    logger.info("stopped by %s at step %d, exit code %s: the same command goes on", name, step, code)
                raise

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Train; after a signal save, and end."""
        with self.ending_in_order():
            try:
                super().fit(*args, **kwargs)
            except Exception:
                self.signals.check()  # the same signal may have ended another rank or a process that we wait for
                raise

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """A signal in a training stage waits for the end of a window; in others there is nothing to save."""
        super().on_stage_start(stage, epoch)
        self.signals.at_once = stage != sb.Stage.TRAIN

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Save what was trained before it is validated."""
        if stage == sb.Stage.TRAIN:
            if self._saves_within_epochs or self.signals.agreed(self.device):
                self._save_within_epoch()
            self._end_if_signalled()
            self.signals.at_once = True

    def evaluate_batch(self, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """Evaluate one batch, unless a signal has come."""
        self.signals.check()
        return super().evaluate_batch(batch, stage)

    def _end_if_signalled(self) -> None:
        if self.signals.agreed(self.device):
            self.signals.check()


@main_process_only
def _save_epoch(brain: ResumingBrain, path: Path) -> None:
    write_whole(path, json.dumps({**brain._layout(), "counts": brain.counts.state()}))


def _load_epoch(brain: ResumingBrain, path: Path, end_of_epoch: bool) -> None:
    state = json.loads(Path(path).read_text(encoding="utf-8"))
    counts = state.pop("counts", None)
    if "batches" in state:  # of earlier versions
        state = {"batches_per_epoch": state["batches"]}
    brain._saved_layout, brain.is_mid_epoch = state, not end_of_epoch
    if counts is not None:
        brain.counts.load(counts, end_of_epoch)
