"""A training that was killed and started again ends as one that was not: weights, curve, log and test, bit by bit."""

import json
import logging
from functools import partial

import pytest
import speechbrain as sb
import torch
from resuming import EPOCHS, ITEMS, Dropping, Mortal, curve, live, log, table, weights

from lobes.errors import UserError
from lobes.training.recovery import ResumingBrain

TRAIN, VALID, TEST = sb.Stage.TRAIN, sb.Stage.VALID, sb.Stage.TEST
PLATEAU = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", factor=0.5, patience=0)
COSINE = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=2 * ITEMS)


class SomeAreNoNumbers(Mortal):
    bad_items = frozenset({"utt03", "utt04"})


class AllAreNoNumbers(Mortal):
    bad_items = frozenset(f"utt{number:02d}" for number in range(ITEMS))


KINDS = {
    "F01 F02 F20 dropout, random mixing, a schedule by epochs": {"lr_scheduler": PLATEAU},
    "F02 F20 a schedule by steps, warm-up": {
        "lr_scheduler": COSINE, "lr_scheduler_interval": "step", "warmup_steps": 6, "batch_size": 2,
    },
    "F03 two workers": {"num_workers": 2, "ckpt_interval_steps": 4},
    "F18 accumulation 4, kills between steps": {"grad_accumulation_factor": 4},
    "F18 accumulation 5, an epoch's last window is short": {"grad_accumulation_factor": 5},
    "N01 skipped steps": {"cls": SomeAreNoNumbers},
    "minutes": {"ckpt_interval_steps": 0, "ckpt_interval_minutes": 1e-9},
}  # fmt: skip


def same(one, other, folder, name="undisturbed", of="killed"):
    """Whether two runs ended alike."""
    assert torch.equal(weights(one), weights(other)) and one.budget.steps == other.budget.steps
    one, other = folder / name, folder / of
    assert curve(one) == curve(other) and log(one) == log(other) and table(one) == table(other)
    steps = [json.loads((run / "train_time.json").read_text())["steps"] for run in (one, other)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("name", KINDS)
def test_killed_runs_end_as_undisturbed_ones(name, lives, tmp_path):
    options = KINDS[name]
    undisturbed = lives("undisturbed", **options)
    batches = ITEMS // options.get("batch_size", 1)
    kills = [(TRAIN, 4), (VALID, 2), (TRAIN, batches), (TRAIN, 2), (VALID, 3), (TEST, 1)]
    killed = lives("killed", kills, **options)
    same(undisturbed, killed, tmp_path)
    assert len(curve(tmp_path / "killed")) == EPOCHS and len(set(weights(killed).tolist())) > 3


@pytest.mark.parametrize("epochs, max_steps", [(1, None), (3, 17), (1, 5)])
def test_FX1_FX2_a_kill_in_the_last_validation_is_finished_by_the_next_start(epochs, max_steps, lives, tmp_path):
    options = {"epochs": epochs, "max_steps": max_steps}
    undisturbed = lives("undisturbed", **options)
    last = 3 * len(curve(tmp_path / "undisturbed"))
    killed = lives("killed", [(VALID, last)], **options)
    same(undisturbed, killed, tmp_path)
    assert killed.done.get(TRAIN, 0) == 0 and killed.done[VALID] == 3


def test_F22_a_finished_run_called_again_changes_no_byte(lives, tmp_path):
    lives("run", epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = lives("run", epochs=1)
    assert again.done == {TEST: 3}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("dies_at, words", [
    ((TRAIN, 8), "2 ranks before, 1 now; epoch 1 starts again, since its batches hold other items"),
    ((VALID, 2), "2 ranks before, 1 now"),
])  # fmt: skip
def test_F24_another_number_of_ranks_begins_the_epoch_again(dies_at, words, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch:
        patch.setattr(ResumingBrain, "_layout", lambda brain: {"ranks": 2, "batch_size": 1, "batches_per_epoch": ITEMS})
        live(tmp_path / "run", dies_at, epochs=1)
    brain = live(tmp_path / "run", epochs=1)
    assert words in caplog.messages
    assert brain.done.get(TRAIN, 0) == (ITEMS if dies_at[0] == TRAIN else 0) and brain.done[VALID] == 3


def test_F24_batches_of_another_size_are_others_even_when_they_are_as_many(lives, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    live(tmp_path / "run", (TRAIN, 2), epochs=1, batch_size=7, ckpt_interval_steps=1)
    assert lives("run", epochs=1, batch_size=8, ckpt_interval_steps=1).done[TRAIN] == 2
    assert "epoch 1 starts again, since its batches hold other items" in caplog.messages


def test_N03_skipped_steps_in_a_row_survive_kills(tmp_path):
    options = {"cls": AllAreNoNumbers, "nonfinite_patience": 8, "ckpt_interval_steps": 2}
    for _ in range(2):
        live(tmp_path / "run", (TRAIN, 4), **options)
    with pytest.raises(UserError, match="8 steps in a row"):
        live(tmp_path / "run", **options)
    assert not (tmp_path / "run" / "learning_curve.csv").exists()


class NoNumbersInValidation(Dropping):
    def forward(self, mix, lengths=None):
        return super().forward(mix, lengths) * (1.0 if self.training else float("nan"))


def test_F16_a_validation_without_a_number_is_the_worst_and_no_zero(lives, tmp_path):
    brain = lives("run", network=NoNumbersInValidation, epochs=1)
    assert {curve(tmp_path / "run")[0][f"valid_{name}"] for name in ("si_sdr", "si_sdri")} == {"nan"}
    assert brain.checkpointer.find_checkpoint(max_key="si_sdri").meta["si_sdri"] == float("-inf")


def test_a_checkpoint_that_falls_due_in_a_window_is_written_at_its_end(tmp_path):
    live(tmp_path / "run", (TRAIN, 9), epochs=1, grad_accumulation_factor=4, ckpt_interval_steps=3)
    [checkpoint] = (tmp_path / "run" / "save").glob("CKPT*")  # of batch 8, in place of that of batch 4
    assert (checkpoint / "dataloader-TRAIN.ckpt").read_text() == "8"
    meta = (checkpoint / "CKPT.yaml").read_text()
    assert "step: 2" in meta and "epoch: 1" in meta and "batch: 8" in meta
