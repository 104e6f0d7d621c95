"""What the shared Brain promises of validation, of the checkpoint it chooses and of the test."""

import csv
import logging
import math
import re

import pytest
import speechbrain as sb
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from lobes.errors import UserError


class OneWeight(torch.nn.Module):
    """mix [B,T] -> mix + amount * (mix one sample later) [B,T,1]: the smaller the amount, the higher the SI-SDR."""

    num_sources, sample_rate, causal = 1, 8000, True

    def __init__(self):
        super().__init__()
        self.amount = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, mix, lengths=None):
        return (mix + self.amount * mix.roll(1, 1))[..., None]


class NoNumberLater(OneWeight):
    """Gives NaN when the amount is above a half."""

    def forward(self, mix, lengths=None):
        return super().forward(mix) * (0.5 - self.amount).sqrt()


class DropsSamples(OneWeight):
    """Drops half of the samples, in eval mode none."""

    def forward(self, mix, lengths=None):
        return torch.nn.functional.dropout(super().forward(mix), 0.5, self.training)


class LoudPadding(OneWeight):
    """As it should be where there is signal, loud where there is none."""

    def forward(self, mix, lengths=None):
        loud = torch.linspace(-9.0, 9.0, mix.shape[1]).expand_as(mix)
        return torch.where(mix == 0, loud, mix)[..., None] + 0 * self.amount


@pytest.fixture
def worse_each_step(separator_brain):
    """A step adds the learning rate to the amount, so that the first epoch is the best."""

    class WorseEachStep(separator_brain):
        def compute_objectives(self, predictions, batch, stage):
            loss = super().compute_objectives(predictions, batch, stage)
            return -self.separator.amount if stage == sb.Stage.TRAIN else loss

    return WorseEachStep


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def trained(brain, data, batch_size=1):
    loader = {"batch_size": batch_size}
    brain.fit(brain.hparams.epoch_counter, data, data, None, loader, loader)
    return brain


def test_the_best_checkpoint_is_tested_not_the_newest(tiny_brain, worse_each_step, noises, tmp_path):
    data, network = noises([800, 800]), OneWeight()
    brain = trained(tiny_brain(worse_each_step, network, epochs=3), data)
    scores = [float(row["valid_si_sdr"]) for row in rows_of(tmp_path / "learning_curve.csv")]
    assert scores[0] > scores[1] + 2 > scores[2] + 4
    assert network.amount.item() == pytest.approx(0.6)
    summary = brain.evaluate(data)
    assert network.amount.item() == pytest.approx(0.2)
    assert summary["mean"]["si_sdr"] == pytest.approx(scores[0], abs=0.01)


def test_the_first_of_several_ranks_alone_writes_results(tiny_brain, worse_each_step, noises, tmp_path, monkeypatch):
    data, network = noises([800, 800]), OneWeight()
    brain = trained(tiny_brain(worse_each_step, network), data)
    before = {*tmp_path.iterdir()}
    monkeypatch.setattr("lobes.training.sharing.if_main_process", lambda: False)
    assert brain.evaluate(data) == {} and {*tmp_path.iterdir()} - before == {tmp_path / "scored.jsonl"}
    assert network.amount.item() == pytest.approx(0.2)  # every rank loads, as the checkpointer asks all of them


def test_the_first_rank_tests_the_network_without_its_wrapper(tiny_brain, worse_each_step, noises, monkeypatch):
    """DDP sends buffers to all ranks at each call, and the others do not test."""
    data = noises([800, 800])
    brain = trained(tiny_brain(worse_each_step, OneWeight()), data)
    monkeypatch.setenv("RANK", "0")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        brain.modules["separator"] = DistributedDataParallel(brain.modules.separator)
        brain.modules.separator.forward = None  # not to be called
        assert brain.evaluate(data)["n"] == 2 and isinstance(brain.modules.separator, OneWeight)
    finally:
        distributed.destroy_process_group()


def test_an_epoch_whose_score_is_not_a_number_is_never_the_best(tiny_brain, worse_each_step, noises):
    data, network = noises([800, 800]), NoNumberLater()
    brain = trained(tiny_brain(worse_each_step, network, epochs=2, lr=0.2), data)
    assert math.isnan(network(torch.ones(1, 2)).sum().item())
    summary = brain.evaluate(data)
    assert summary["failures"] == {} and summary["mean"]["si_sdr"] > 5


def test_the_test_alone_runs_in_eval_mode(tiny_brain, worse_each_step, noises):
    data = noises([800, 800])
    trained(tiny_brain(worse_each_step, DropsSamples(), lr=0.0), data)
    brain = tiny_brain(worse_each_step, DropsSamples())
    assert brain.modules.training
    assert brain.evaluate(data)["mean"]["si_sdr"] == pytest.approx(20, abs=1)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_validation_scores_a_padded_item_as_the_item_alone(tiny_brain, worse_each_step, noises, tmp_path, offset):
    """The mean of the valid samples is removed, not that of the padded ones: hence the offset."""
    data = noises([800, 300], offset)
    for folder, batch_size in (("alone", 1), ("padded", 2)):
        trained(tiny_brain(worse_each_step, LoudPadding(), folder=folder), data, batch_size)
    alone, padded = (rows_of(tmp_path / name / "learning_curve.csv")[0] for name in ("alone", "padded"))
    for name in ("valid_si_sdr", "valid_si_sdri"):
        assert float(padded[name]) == pytest.approx(float(alone[name]), abs=1e-3), name


def test_the_table_of_the_test_scores_a_padded_item_as_the_item_alone(tiny_brain, worse_each_step, noises, tmp_path):
    data, tables = noises([800, 300]), []
    brain = trained(tiny_brain(worse_each_step, LoudPadding()), data)
    for batch_size in (1, 2):
        brain.evaluate(data, test_loader_kwargs={"batch_size": batch_size})
        tables.append(rows_of(tmp_path / "per_utterance.csv"))
    assert [row["id"] for row in tables[0]] == ["utt0", "utt1"]
    assert tables[0] == tables[1]


def test_a_skipped_step_advances_neither_budget_nor_schedule(tiny_brain, separator_brain, noises, tmp_path):
    class SecondLossIsNoNumber(separator_brain):
        def compute_objectives(self, predictions, batch, stage):
            loss = super().compute_objectives(predictions, batch, stage)
            return loss * math.nan if stage == sb.Stage.TRAIN and batch.id == ["utt1"] else loss

    brain = trained(tiny_brain(SecondLossIsNoNumber, OneWeight(), warmup_steps=10), noises([800, 800, 800]))
    assert brain.counts.skipped == 1
    assert brain.budget.steps == brain.schedule.steps == 2
    [row] = rows_of(tmp_path / "learning_curve.csv")
    assert (row["step"], row["skipped"]) == ("2", "1")


def test_the_curve_holds_each_epochs_mean_of_the_parts_of_the_loss(tiny_brain, worse_each_step, noises, tmp_path):
    class CountsItsAmount(worse_each_step):
        def compute_objectives(self, predictions, batch, stage):
            if stage == sb.Stage.TRAIN:
                self.count_parts({"amount": self.separator.amount})
            return super().compute_objectives(predictions, batch, stage)

    trained(tiny_brain(CountsItsAmount, OneWeight(), epochs=2), noises([800, 800]))
    means = [float(row["train_amount"]) for row in rows_of(tmp_path / "learning_curve.csv")]
    assert means == pytest.approx([0.05, 0.25])  # of 0 and 0.1, then of 0.2 and 0.3


@pytest.fixture
def nothing_gains(worse_each_step):
    """As in PolSESS's tasks ES and EB where all mixtures are clean: there is a score, and no gain of any group."""

    class NothingGains(worse_each_step):
        def improves(self, batch):
            return [False] * len(batch.id)

    return NothingGains


def lines_of(caplog, tmp_path):
    """What a run says of its epochs and of the checkpoint that it tests, and the line of its log."""
    said = [line for line in caplog.messages if line.startswith(("epoch", "testing"))]
    return *said, (tmp_path / "train_log.txt").read_text()


def test_a_validation_without_a_gain_says_so(tiny_brain, nothing_gains, noises, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = noises([800, 800])
    brain = tiny_brain(nothing_gains, OneWeight())
    brain.group_by, brain.groups = "variant", lambda batch: ["C"] * len(batch.id)
    trained(brain, data)
    brain.group_by = None  # the data have no key of that name, which the table of the test would show
    brain.evaluate(data)
    epoch, testing, log = lines_of(caplog, tmp_path)
    assert re.search(r"valid SI-SDR \d+\.\d\d dB, no SI-SDRi \| about", epoch) and log.endswith("dB, no SI-SDRi\n")
    assert testing == "testing the checkpoint of step 2 (no si_sdri)"


def test_an_epoch_without_a_step_says_so(tiny_brain, worse_each_step, noises, tmp_path):
    class NoLossIsANumber(worse_each_step):
        def compute_objectives(self, predictions, batch, stage):
            return super().compute_objectives(predictions, batch, stage) * math.nan

    with pytest.raises(UserError, match="without a step"):
        trained(tiny_brain(NoLossIsANumber, OneWeight()), noises([800, 800]))
    log = (tmp_path / "train_log.txt").read_text()
    assert "epoch 1, step 0, 0 s: no train loss, no grad norm, skipped 2, no lr | valid SI-SDR 20." in log


def test_a_validation_without_a_number_says_how_many_are_missing(tiny_brain, worse_each_step, noises, tmp_path):
    trained(tiny_brain(worse_each_step, NoNumberLater(), lr=1.0), noises([800]))
    log = (tmp_path / "train_log.txt").read_text()
    assert log.endswith("| valid no SI-SDR, no SI-SDRi, 2 numbers missing\n")
