"""The Brain that all recipes share: budget, schedule, validation scores, checkpoints, test table.

A recipe adds what its method section would mention: `compute_forward` and `compute_objectives`.
B batch, T samples, S sources.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process, main_process_only

from lobes.errors import UserError
from lobes.evaluation.results import write_json
from lobes.nnet.lstm import run_lstms_in_any_precision
from lobes.objectives.pit import pit_si_snr
from lobes.objectives.si_snr import si_snr
from lobes.runs import names
from lobes.runs.fine_tune import start_from
from lobes.runs.main_process import on_main
from lobes.runs.provenance import command, commit, machine
from lobes.runs.record import last_words, named
from lobes.training.epoch_log import EpochLog
from lobes.training.launch import seconds_since_launch
from lobes.training.memory import keep_freed_memory, peak_megabytes
from lobes.training.optim import build_optimizer
from lobes.training.progress import EarlyStopping, GroupMeter, LearningCurve, TrainLog
from lobes.training.ranks import cores_of_rank, leave_ranks
from lobes.training.schedule import WarmupSchedule
from lobes.training.sharing import SharingBrain
from lobes.training.signals import leave_to_the_main_process

logger = logging.getLogger(__name__)


class SeparationBrain(SharingBrain):
    """Train and test a separator `modules.separator` with the model contract mix [B,T] -> estimates [B,T,S].

    In addition to SpeechBrain's keys, `hparams` holds `budget`, `lr_scheduler`, `lr_scheduler_interval`,
    `warmup_steps`, `patience` and `output_folder`. What a recipe counts needs no change here: `count_parts` adds the
    parts of a loss to the learning curve, and `test_metrics` takes measures of your own (`package.module:function`).
    """

    verb = "separate"  # the command of `lobes` for files of the user's own

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if torch.device(self.device).type == "cpu":
            keep_freed_memory()
            run_lstms_in_any_precision(self.modules)
        self.budget = self.hparams.budget
        self.curve = LearningCurve(Path(self.hparams.output_folder) / names.CURVE)
        self.epoch_log = EpochLog(self.curve, getattr(self.hparams, "train_logger", None), vars(self.hparams))
        self.train_log = TrainLog(self.hparams.train_log)
        self.stopping = EarlyStopping(self.hparams.patience)
        self.epoch_clock: torch.Tensor | None = None  # [1], carries the epoch into the data pipeline
        self._train_loss = math.nan

    # ---- start and resume

    def fit_and_test(self, datasets: Mapping[str, Any], clock: torch.Tensor) -> None:
        """Train on `datasets["train"]`, choose by `datasets["valid"]`, test the best checkpoint on `datasets["test"]`.

        Arguments
        ---------
        datasets : mapping
            Split -> DynamicItemDataset with id, mix_sig [T], sources_sig [T,S].
        clock : torch.Tensor
            [1], shared with the loader's workers; it is set to the epoch (counted from 1) when an epoch starts.
        """
        h, self.epoch_clock = self.hparams, clock
        train = {"batch_size": h.batch_size, "num_workers": h.num_workers, "shuffle": True}
        others = {"batch_size": h.valid_batch_size, "num_workers": h.num_workers}
        self.fit(h.epoch_counter, datasets["train"], datasets["valid"], None, train, others)
        self.evaluate(datasets["test"], test_loader_kwargs=others)
        if if_main_process():
            logger.info("%s", last_words(Path(h.output_folder), self.verb, self.debug))
        leave_ranks()

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Train, then write `train_time.json` before testing: loading the best checkpoint resets the counters.

        Raises
        ------
        UserError
            If the training has ended without a step: nobody wants random weights tested.
        """
        super().fit(*args, **kwargs)
        if self.test_only:
            return
        if if_main_process():
            self.epoch_log.end()
        if not self.budget.steps:
            raise UserError(
                "the training ended without a step: every loss or gradient was not finite, or the time was too short. "
                "Look at max_minutes, max_steps and lr, and train with precision fp32."
            )
        if if_main_process() and self.budget.steps != _steps_in(Path(self.hparams.output_folder) / names.TRAIN_TIME):
            self._write_facts()

    def init_optimizers(self) -> None:
        """Make the optimizer with its parameter groups, and the schedule on top."""
        self.optimizer = build_optimizer(self.modules, self.opt_class)
        self.optimizers_dict = {"optimizer": self.optimizer}
        h = self.hparams
        self.schedule = WarmupSchedule(self.optimizer, h.lr_scheduler, h.warmup_steps, h.lr_scheduler_interval)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)
            self.checkpointer.add_recoverable("budget", self.budget, _load_json, _save_json)
            self.checkpointer.add_recoverable("schedule", self.schedule, _load_state, _save_state)  # asks the budget
            self.checkpointer.add_recoverable("stopping", self.stopping, _load_json, _save_json)
        super().init_optimizers()

    def on_fit_start(self) -> None:
        """Go on from the newest checkpoint; a run whose budget is spent trains no more, but ends the epoch it is in."""
        super().on_fit_start()
        on_main(self._begin_logs)
        if self.hparams.pretrained_separator and not self.budget.steps:
            start_from(self.separator, self.hparams.pretrained_separator, self.hparams.pretrained_revision)
        if self.budget.steps:
            logger.info("resumed at step %d (%.0f %% of the budget)", self.budget.steps, 100 * self.budget.progress)
        if (self.budget.spent or self.stopping.exhausted) and not self.is_mid_epoch:
            self.hparams.epoch_counter.current = self.hparams.epoch_counter.limit

    @property
    def _optimizer_step_limit_exceeded(self) -> bool:
        return bool(self.budget.spent)

    def make_dataloader(self, dataset: Any, stage: sb.Stage, *args: Any, **kwargs: Any) -> Any:
        """SpeechBrain's loader, with no more workers than this rank has cores."""
        wanted, most = kwargs.get("num_workers") or 0, cores_of_rank()
        if wanted > most:
            kwargs["num_workers"] = most
            if stage == sb.Stage.TRAIN:
                logger.info("num_workers: %d wanted, %d cores can be used, so %d", wanted, most, most)
        if kwargs.get("num_workers") and multiprocessing.get_start_method() != "fork":
            kwargs["persistent_workers"] = True  # a spawned one imports PyTorch and SpeechBrain: not in every epoch
            kwargs["generator"] = torch.Generator()  # theirs draw once a process, not once an epoch
        kwargs["worker_init_fn"] = leave_to_the_main_process
        return super().make_dataloader(dataset, stage, *args, **kwargs)

    # ---- one step

    def on_step_taken(self) -> None:
        """Advance budget and learning rate; a skipped step advances neither. People wait for the first one."""
        epochs_done = self.hparams.epoch_counter.current - 1 + self.step / self.batches_per_epoch
        self.budget.count_step(epochs_done)
        self.counts.lr = self.schedule.lr
        self.schedule.after_step()
        if self.budget.steps == 1:
            logger.info("first step after %.1f s", seconds_since_launch())

    # ---- stages

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start the clock of a training stage or the meter of a validation or test stage."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            if self.epoch_clock is not None:
                self.epoch_clock.fill_(epoch or 0)
            self.budget.start_clock()
        else:
            self.meter = GroupMeter()

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Log, choose and keep the best checkpoint by the validation score."""
        if stage == sb.Stage.TRAIN:
            self.budget.stop_clock()
            self._train_loss = stage_loss if self.counts.losses else math.nan
        super().on_stage_end(stage, stage_loss, epoch)
        if stage == sb.Stage.VALID:
            self.take_all_shares(stage_loss)
            with self.signals.deferred():
                self._end_epoch(epoch)

    def count_scores(self, estimates: torch.Tensor, batch: Any) -> None:
        """Add a batch's SI-SDR and SI-SDRi in dB to the meter of the stage.

        Arguments
        ---------
        estimates : torch.Tensor
            [B,T,S]
        batch : PaddedBatch
            With `mix_sig` [B,T] and `sources_sig` [B,T,S].
        """
        mix, lengths = batch.mix_sig
        targets, groups = batch.sources_sig.data, self.groups(batch)
        scores = pit_si_snr(estimates, targets, lengths)[0].mean(-1)  # [B]
        inputs = si_snr(mix.unsqueeze(-1).expand_as(targets), targets, lengths).mean(-1)  # [B]
        self.meter.add(groups, si_sdr=scores.tolist())
        counted = [i for i, improving in enumerate(self.improves(batch)) if improving]
        gains = (scores - inputs).tolist()
        self.meter.add([groups[i] for i in counted], si_sdri=[gains[i] for i in counted])

    def count_parts(self, parts: Mapping[str, torch.Tensor]) -> None:
        """Add parts of a training loss, by name; the curve gets a column `train_<name>` with the mean of the epoch."""
        for name, value in parts.items():
            self.counts.add_part(name, float(value.detach().mean()))

    def groups(self, batch: Any) -> list[str]:
        """The group of each item, by the key `group_by`; one group without it."""
        return [""] * len(batch.id) if self.group_by is None else list(getattr(batch, self.group_by))

    def _end_epoch(self, epoch: int | None) -> None:
        monitor = self.meter.mean(self.monitor)
        monitor = monitor if math.isfinite(monitor) else -math.inf  # a NaN metric is the worst, never the best
        self.schedule.after_epoch(monitor)
        stop = self.stopping.update(monitor)
        on_main(self._log_epoch, epoch)
        if self.budget.steps:  # random weights are never the best
            self.save_checkpoint(True, meta={self.monitor: monitor}, max_keys=[self.monitor], importance_keys=[])
        if stop:
            logger.info("no better %s for %d epochs: training ends", self.monitor, self.stopping.epochs_without)
            self.hparams.epoch_counter.current = self.hparams.epoch_counter.limit

    def _begin_logs(self) -> None:
        self.curve.keep_until(self.hparams.epoch_counter.current)
        self.train_log.keep_until(self.hparams.epoch_counter.current)
        self.epoch_log.begin(self.budget.steps)

    def _log_epoch(self, epoch: int | None) -> None:
        grad_norm = self.counts.grad_norm / self.counts.taken if self.counts.taken else math.nan
        parts = {f"train_{name}": mean for name, mean in self.counts.mean_parts().items()}
        row = {
            "step": self.budget.steps, "seconds": self.budget.seconds, "epoch": epoch or 0,
            "train_loss": self._train_loss, **parts, **self.valid_scores(),
            "grad_norm": grad_norm, "skipped": self.counts.skipped, "lr": self.counts.lr,
        }  # fmt: skip
        self.epoch_log.add(row)
        line = (
            f"epoch {epoch}, step {self.budget.steps}, {self.budget.seconds:.0f} s: "
            f"{named('train loss', self._train_loss)}, {named('grad norm', grad_norm)}, "
            f"skipped {self.counts.skipped}, {named('lr', self.counts.lr, '.2e')}"
            f" | valid {self.scores_in_words()}{self.meter.missing_in_words}"
        )
        left = "" if self.debug else f" | about {self.budget.seconds_left / 60:.1f} min of training left"
        logger.info("%s%s", line, left)
        self.train_log.add(line)

    def valid_scores(self) -> dict[str, float]:
        """The validation's columns of the learning curve."""
        return {f"valid_{name}": self.meter.mean(name) for name in ("si_sdr", "si_sdri")}

    def scores_in_words(self) -> str:
        """The same for the log, with the gain of each group; ES and EB may have no item that can gain."""
        gains = self.meter.per_group("si_sdri")
        each = ", ".join(f"{name} {value:.2f}" for name, value in gains.items())
        groups = f" ({each})" if self.group_by and gains else ""
        level, gain = (self.meter.mean(name) for name in ("si_sdr", "si_sdri"))
        return f"{named('SI-SDR', level, unit=' dB')}, {named('SI-SDRi', gain, unit=' dB')}{groups}"

    def _write_facts(self) -> None:
        facts = {
            "steps": self.budget.steps, "seconds": round(self.budget.seconds, 1), "seed": self.hparams.seed,
            "command": command(sys.argv[0], sys.argv[1:]), "commit": commit(), "machine": machine(),
            "torch_threads": torch.get_num_threads(), "scan_backend": os.environ.get("LOBES_SCAN_BACKEND", "auto"),
            "parameters": sum(p.numel() for p in self.modules.parameters()),
            "peak_megabytes": round(peak_megabytes(self.device), 1),
        }  # fmt: skip
        write_json(Path(self.hparams.output_folder) / names.TRAIN_TIME, facts)


def _steps_in(facts: Path) -> int | None:
    """The steps in a run's `train_time.json`; None where it cannot be read."""
    try:
        return int(json.loads(facts.read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@main_process_only
def _save_json(item: Any, path: Path) -> None:
    item.save(path)


def _load_json(item: Any, path: Path, end_of_epoch: bool) -> None:
    item.load(path)


@main_process_only
def _save_state(item: Any, path: Path) -> None:
    torch.save(item.state_dict(), path)


def _load_state(item: Any, path: Path, end_of_epoch: bool) -> None:
    item.load_state_dict(torch.load(path, weights_only=True))
