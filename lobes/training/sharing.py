"""The validation and the test of a Brain, shared out among the ranks: each takes whole batches, the first one writes.

B batch, T samples, S sources.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.dataio.sampler import DistributedSamplerWrapper, ReproducibleRandomSampler
from speechbrain.utils.distributed import if_main_process

from lobes.errors import UserError
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.recognisers import POCKETSPHINX
from lobes.evaluation.results import folder_name, write_item, write_results
from lobes.evaluation.scoring import default_workers, in_order, score_many
from lobes.runs import names
from lobes.runs.record import named
from lobes.training.out_of_memory import naming_the_batch
from lobes.training.progress import GroupMeter
from lobes.training.ranks import cores_of_rank, number_of_ranks, rank_here
from lobes.training.recovery import ResumingBrain
from lobes.training.shares import Meeting, ShareOfBatches, ShareOfOrder, take_buffers_of_the_first
from lobes.training.testing import conditions_of, forget_journals, jobs_of, journal_of, passed_on

logger = logging.getLogger(__name__)


class SharingBrain(ResumingBrain):
    """A Brain whose ranks share out the batches of a validation and of a test, and put the scores together.

    So all ranks decide the same, and tables are those of a single one.

    `hparams` holds `output_folder`, `scoring_workers`, `n_audio_to_save`, `sample_rate` and `test_metrics`.
    """

    monitor = "si_sdri"  # the validation score, in dB, that chooses the checkpoint: the highest is the best
    group_by: str | None = None  # a key of the batches whose values count equally in all means

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.meeting, self.meter = Meeting(), GroupMeter()
        self.valid_loss = math.nan
        self.test_rows: Mapping[str, Mapping[str, str]] = {}  # ID -> texts and speakers, of the set that is tested

    @property
    def separator(self) -> Any:
        """The network itself. Train through `modules.separator`, which on several devices is a wrapper around it."""
        return getattr(self.modules.separator, "module", self.modules.separator)

    def make_dataloader(self, dataset: Any, stage: sb.Stage, *args: Any, **kwargs: Any) -> Any:
        """SpeechBrain's loader; outside of the training it has the batches of this rank.

        In the training SpeechBrain deals out the items. It gets the order of a single rank, which the seed decides:
        its own for several ranks is the same with every seed.
        """
        if stage != sb.Stage.TRAIN:
            size = kwargs.pop("batch_size", 1)
            kwargs["batch_sampler"] = ShareOfBatches(len(dataset), size, rank_here(), number_of_ranks())
        elif self.distributed_launch and kwargs.pop("shuffle", False):
            kwargs["sampler"] = ReproducibleRandomSampler(dataset, seed=self.hparams.seed)
        return super().make_dataloader(dataset, stage, *args, **kwargs)

    def _train_loader_specifics(self, dataset: Any, loader_kwargs: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = super()._train_loader_specifics(dataset, loader_kwargs)
        theirs = found.get("sampler")
        if isinstance(theirs, DistributedSamplerWrapper):
            ours = ShareOfOrder(theirs.sampler, rank=self.rank, drop_last=theirs.drop_last, shuffle=False)
            found["sampler"] = self.train_sampler = ours
        return found

    # ---- validation

    def _fit_valid(self, valid_set: Any, epoch: int, enable: bool) -> None:
        wrapped = self.modules["separator"]
        if number_of_ranks() > 1:
            self.modules["separator"] = self.separator  # its wrapper waits for the other ranks at each call
            take_buffers_of_the_first(self.separator)
        try:
            with self.meeting.at_the_end_of("the validation"):
                super()._fit_valid(valid_set, epoch, enable)
        finally:
            self.modules["separator"] = wrapped

    def take_all_shares(self, loss: float) -> None:
        """Put the scores of all ranks together, and their mean losses; call it at the end of a validation."""
        found = self.meeting.gather((self.meter, loss, self._stage_counts.losses))
        self.meter = GroupMeter()
        for meter, _, _ in found:
            self.meter.take(meter)
        losses = sum(number for _, _, number in found)
        self.valid_loss = sum(mean * number for _, mean, number in found) / losses if losses else math.nan

    # ---- test

    def on_evaluate_start(self, max_key: str | None = None, min_key: str | None = None) -> None:
        """Load the best checkpoint; random weights are never tested."""
        chosen = self.checkpointer.recover_if_possible(max_key=max_key, min_key=min_key)
        if chosen is None:
            raise UserError(
                f"nothing to test: no checkpoint in {self.checkpointer.checkpoints_dir}. Train first, or give the "
                "output_folder of a trained run."
            )
        score = named(self.monitor, chosen.meta[self.monitor])
        logger.info("testing the checkpoint of step %s (%s)", chosen.meta["step"], score)

    def evaluate(
        self,
        test_set: Any,
        max_key: str | None = None,
        min_key: str | None = None,
        progressbar: bool | None = None,
        test_loader_kwargs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Test the best checkpoint and write the table, the summary and some audio into the run folder.

        Each of several ranks separates and scores its share. The first one writes.

        Arguments
        ---------
        test_set : Dataset
            Examples with id, mix_sig [T] and sources_sig [T,S].
        max_key, min_key : str, optional
            Checkpoint meta key to choose by (default: the highest `monitor`).
        progressbar : bool, optional
            Not used: the scoring has its own bar.
        test_loader_kwargs : dict, optional
            For the data loader.

        Returns
        -------
        dict
            The summary, as `lobes.evaluation.summary.summarise` describes it; empty on other ranks than the first.
        """
        h, folder = self.hparams, Path(self.hparams.output_folder)
        with self.ending_in_order(), self.meeting.at_the_end_of("the test"):
            loader = self.make_dataloader(test_set, sb.Stage.TEST, ckpt_prefix=None, **(test_loader_kwargs or {}))
            self.on_evaluate_start(max_key or (None if min_key else self.monitor), min_key)
            self.modules["separator"] = self.separator  # its wrapper waits for the other ranks at each call
            self.modules.eval()
            self.test_rows = getattr(test_set, "data", {})
            share, batches = loader.batch_sampler, self.debug_batches if self.debug else None
            heard: list[ScoreJob] = []
            jobs = passed_on(self._test_jobs(islice(loader, batches)), heard, share.below(h.n_audio_to_save))
            found = self.meeting.gather((self.score(jobs, share.first(batches)), heard))
            if not if_main_process():
                return {}
            for job in (job for _, of_rank in found for job in of_rank):
                write_item(job, folder / names.AUDIO / folder_name(job.id))
            summary = self.report(in_order(row for rows, _ in found for row in rows))
            forget_journals(folder)
            return summary

    def score(self, jobs: Iterator[ScoreJob], items: int) -> list[dict[str, Any]]:
        """Score so many items that were separated, and their input; returns their rows."""
        return self.rows_of((replace(job, score_input=True) for job in jobs), items)

    def rows_of(self, jobs: Iterator[ScoreJob], number: int) -> list[dict[str, Any]]:
        """Score so many jobs in the processes of `scoring_workers`; a test that was stopped goes on."""
        journal = journal_of(Path(self.hparams.output_folder), rank_here())
        return score_many(jobs, self.workers_for(number), progress=if_main_process(), total=number, journal=journal)

    def workers_for(self, number: int) -> int:
        """Processes of this rank that score so many jobs."""
        workers: int | None = self.hparams.scoring_workers
        return default_workers(number, cores_of_rank()) if workers is None else workers

    def report(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Write the rows of a test into the run folder; returns the summary."""
        return write_results(rows, Path(self.hparams.output_folder), self.group_by, **self.listener())

    def listener(self) -> dict[str, str]:
        """The recogniser, for the summary of a test that counts word errors."""
        h = self.hparams
        return {"recogniser": getattr(h, "recogniser", POCKETSPHINX)} if "wer" in h.test_metrics else {}

    def _test_jobs(self, batches: Iterable[Any]) -> Iterator[ScoreJob]:
        for batch in batches:
            self.signals.check()
            with torch.no_grad(), naming_the_batch(batch, sb.Stage.TEST, self):
                estimates = self.separate(batch)  # [B,T,S]
            yield from self.jobs(batch, estimates, self.hparams.test_metrics)

    def jobs(self, batch: Any, estimates: torch.Tensor, metrics: Sequence[str]) -> Iterator[ScoreJob]:
        """The items of a batch with their estimates [B,T,S], to be scored."""
        rate, rows = self.hparams.sample_rate, self.test_rows
        conditions = conditions_of(batch, self.group_by, rows)
        recogniser = getattr(self.hparams, "recogniser", POCKETSPHINX)
        return jobs_of(batch, estimates, self.improves(batch), conditions, rate, metrics, rows, recogniser)

    def separate(self, batch: Any) -> torch.Tensor:
        """Estimates [B,T,S] of a batch in the evaluation precision."""
        with self.evaluation_ctx:
            return self.compute_forward(batch, sb.Stage.TEST)

    def improves(self, batch: Any) -> list[bool]:
        """Whether each item's improvement over the input means something; a recipe may know exceptions."""
        return [True] * len(batch.id)
