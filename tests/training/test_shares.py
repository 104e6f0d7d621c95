"""Validation and test on two ranks: the tables of one, the same decisions, and no waiting for a rank that failed."""

from __future__ import annotations

import itertools
import os
import re
import shutil

import pytest
import soundfile
import speechbrain as sb
import torch
from ranks import kill_this_one, run_ranks
from resuming import ITEMS, Mortal, curve, live, table
from speechbrain.dataio.sampler import DistributedSamplerWrapper, ReproducibleRandomSampler

from lobes.errors import UserError, in_one_line
from lobes.runs import names
from lobes.training.budget import Budget
from lobes.training.shares import Meeting, ShareOfBatches, ShareOfOrder, refuse_unshared, take_buffers_of_the_first
from lobes.training.signals import Stopped

VALID, TEST = sb.Stage.VALID, sb.Stage.TEST

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked"),
    pytest.mark.usefixtures("forks"),
]


@pytest.mark.parametrize("items", [1, 2, 5, 7])
def test_the_order_of_a_training_is_dealt_out_as_by_speechbrain_and_may_be_short(items):
    for epoch, rank in itertools.product((1, 2), (0, 1)):
        ours, theirs = (
            kind(ReproducibleRandomSampler(range(items), seed=3), num_replicas=2, rank=rank, shuffle=False)
            for kind in (ShareOfOrder, DistributedSamplerWrapper)
        )
        for sampler in (ours, theirs):
            sampler.set_epoch(epoch)
        if items > 2:
            assert list(ours) == list(theirs)
        else:
            with pytest.raises(TypeError):
                list(theirs)
            assert len(list(ours)) == len(ours) == 1


@pytest.mark.parametrize("items", [1, 2, 5, 6, 7])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_shares_hold_each_item_once_in_the_batches_of_one_rank(items, ranks):
    whole = list(ShareOfBatches(items, 2))
    shares = [list(ShareOfBatches(items, 2, rank, ranks)) for rank in range(ranks)]
    assert [index for batch in whole for index in batch] == list(range(items))
    assert sorted(batch for share in shares for batch in share) == whole
    heard = [ShareOfBatches(items, 2, rank, ranks).below(3) for rank in range(ranks)]
    assert sum(heard) == min(3, items)


def at_a_meeting(word_of_the_last):
    """What two ranks say of a meeting that the second one comes to as `word_of_the_last` does."""

    def work(rank):
        meeting = Meeting()
        with meeting.at_the_end_of("the validation"):
            if rank == 1:
                word_of_the_last()
            return meeting.gather([rank])

    return run_ranks(work, 2)


def test_results_of_all_ranks_come_to_each():
    assert at_a_meeting(lambda: None) == [(0, [[0], [1]])] * 2


def raises(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize("error", [UserError("no a.wav. Make it."), ValueError("a bug")], ids=["user", "bug"])
def test_a_rank_that_fails_tells_the_others_why(error):
    text = str(error) if isinstance(error, UserError) else "ValueError: a bug"
    (_, first), (_, second) = at_a_meeting(raises(error))
    assert first == f"UserError: rank 1 has failed in the validation: {text}"
    assert second == f"{type(error).__name__}: {error}"


def test_a_rank_that_is_stopped_stops_the_others():
    assert at_a_meeting(raises(Stopped(15))) == [(143, "SystemExit: 143")] * 2


def test_what_fails_after_the_meeting_does_not_call_another_one():
    def work(rank):
        meeting = Meeting()
        with meeting.at_the_end_of("the validation"):
            meeting.gather(rank)
            if rank == 1:
                raise UserError("a full disk")
        return "well"

    assert run_ranks(work, 2) == [(0, "well"), (1, "UserError: a full disk")]


def test_a_run_folder_that_a_machine_does_not_share_is_one_line(tmp_path):
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    (tmp_path / "0" / names.HYPERPARAMS).write_text("lr: 0.1")
    words = r"UserError: output_folder .*: rank 1 on .* does not find there what rank 0 has written\. Put it on a file"
    for code, said in run_ranks(lambda rank: refuse_unshared(tmp_path / str(rank), patience=0.1), 2):
        assert code == 1 and re.match(words, said)
    assert run_ranks(lambda rank: refuse_unshared(tmp_path / "0", patience=0.1), 2) == [(0, None)] * 2


def test_ranks_validate_with_the_buffers_of_the_first():
    def work(rank):
        norm = torch.nn.BatchNorm1d(2)
        norm.running_mean.fill_(rank)
        take_buffers_of_the_first(norm)
        return norm.running_mean.tolist()

    assert run_ranks(work, 2) == [(0, [0.0, 0.0])] * 2


# ---- a Brain


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of an epoch that was trained, but not validated."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    live(folder, (VALID, 1), epochs=1)
    return folder


@pytest.mark.parametrize("ranks, batch_size", [(2, 1), (2, 2), (4, 1)])
def test_the_curve_and_the_tables_are_those_of_one_rank(trained, tmp_path, ranks, batch_size):
    """Of three items; the last of four ranks has none."""
    options = {"epochs": 1, "valid_batch_size": batch_size, "n_audio_to_save": 2}
    for name in ("one", "all"):
        shutil.copytree(trained, tmp_path / name)
    live(tmp_path / "one", **options)

    def work(rank):
        brain = live(tmp_path / "all", **options)
        return brain.done.get(VALID, 0), brain.done.get(TEST, 0), brain.stopping.best

    said = run_ranks(work, ranks)
    assert [code for code, _ in said] == [0] * ranks
    shares = [len(ShareOfBatches(3, batch_size, rank, ranks)) for rank in range(ranks)]
    assert [what[:2] for _, what in said] == [(number, number) for number in shares]
    assert len({what[2] for _, what in said}) == 1, "all ranks choose by the same score"
    assert curve(tmp_path / "one") == curve(tmp_path / "all") and table(tmp_path / "one") == table(tmp_path / "all")
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*") if "save" not in path.parts)
             for folder in (tmp_path / "one", tmp_path / "all")]  # fmt: skip
    assert files[0] == files[1]
    for path in files[0]:
        if path.suffix == ".wav":
            one, other = (soundfile.read(tmp_path / name / path)[0] for name in ("one", "all"))
            assert (one == other).all()


class Judged(Mortal):
    """Notes what was decided in each epoch."""

    def on_stage_end(self, stage, stage_loss, epoch=None):
        super().on_stage_end(stage, stage_loss, epoch)
        if stage == VALID:
            patience = (self.stopping.best, self.stopping.epochs_without)
            what = (self.meter.mean("si_sdri"), self.schedule.lr, self.valid_loss, patience)
            self.decided = [*getattr(self, "decided", []), what]


def test_all_ranks_decide_the_same(tmp_path):
    """The schedule, the patience and the checkpoint follow the scores of all items."""

    def plateau(optimizer):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", 0.5, 0, 1000.0, "abs")

    def work(rank):
        brain = live(tmp_path / "run", cls=Judged, lr_scheduler=plateau, patience=2, epochs=5)
        return brain.decided

    (_, first), (_, second) = run_ranks(work, 2)
    assert first == second and len(first) > 1
    assert {lr for _, lr, *_ in first} == {0.01 * 0.5**n for n in range(len(first))}


class OneFails(Mortal):
    """The last of two ranks fails, or is killed."""

    error: UserError | None = None

    def on_death(self):
        if os.environ["RANK"] == "1":
            if self.error is None:
                kill_this_one()
            raise self.error


@pytest.mark.parametrize("stage, words", [(VALID, "the validation"), (TEST, "the test")], ids=["valid", "test"])
def test_nobody_waits_for_a_rank_that_fails(tmp_path, stage, words):
    class Fails(OneFails):
        error = UserError("b.wav: is no audio.")

    (_, first), (_, second) = run_ranks(lambda rank: live(tmp_path / "run", (stage, 1), Fails, epochs=1), 2)
    assert first == f"UserError: rank 1 has failed in {words}: b.wav: is no audio."
    assert second == "UserError: b.wav: is no audio."


@pytest.mark.parametrize("stage", [sb.Stage.TRAIN, VALID, TEST], ids=["train", "valid", "test"])
def test_nobody_waits_for_a_rank_that_was_killed(tmp_path, stage):
    def work(rank):
        try:
            live(tmp_path / "run", (stage, 1), OneFails, epochs=1)
        except RuntimeError as error:
            return in_one_line(error)

    (code, first), (killed, _) = run_ranks(work, 2)
    assert killed == -9 and first.startswith("another rank has ended, and this one with it.")


def test_a_test_that_was_stopped_goes_on_with_another_number_of_ranks(trained, tmp_path, monkeypatch):
    for name in ("whole", "run"):
        shutil.copytree(trained, tmp_path / name)
    live(tmp_path / "whole", epochs=1)

    class EndsLate(Mortal):
        def report(self, rows):
            raise UserError("a full disk")

    (_, first), _ = run_ranks(lambda rank: live(tmp_path / "run", cls=EndsLate, epochs=1) and None, 2)
    assert first == "UserError: a full disk"
    assert {path.name for path in (tmp_path / "run").glob("scored*")} == {names.SCORED, "scored_rank1.jsonl"}
    monkeypatch.setattr("lobes.evaluation.scoring.score_job", lambda job: pytest.fail("scored again"))
    live(tmp_path / "run", epochs=1)
    assert table(tmp_path / "run") == table(tmp_path / "whole") and not [*(tmp_path / "run").glob("scored*")]


def test_clocks_that_differ_end_a_budget_of_minutes_at_one_step(monkeypatch):
    """Else one rank would wait for the gradients of a step that the other does not take."""

    def work(rank):
        ticks = itertools.count()
        monkeypatch.setattr("lobes.training.budget.time.monotonic", lambda: next(ticks) * (1.0 + 0.3 * rank))
        budget = Budget(9, max_minutes=0.5)
        budget.start_clock()
        while not budget.spent:
            budget.count_step(0.0)
        return budget.steps, budget.progress

    assert len({what for _, what in run_ranks(work, 2)}) == 1


class Draws(Mortal):
    """Notes its items, and the number that it draws with each."""

    drawn: list[tuple[str, float]] = []

    def fit_batch(self, batch):
        self.drawn = [*self.drawn, (batch.id[0], torch.rand(1).item())]
        return super().fit_batch(batch)


def drawn(folder, ranks, seed=1):
    """Of each rank: the items and the numbers of a training of one epoch."""

    def work(rank):
        os.environ["SB_GLOBAL_SEED"] = str(seed)  # as a recipe leaves it
        return live(folder, cls=Draws, epochs=1, seed=seed).drawn

    return [what for _, what in run_ranks(work, ranks)]


def test_ranks_draw_numbers_of_their_own_and_share_the_order_of_the_seed(tmp_path):
    (alone,), two = drawn(tmp_path / "1", 1), drawn(tmp_path / "2", 2)
    numbers = [number for share in two for _, number in share]
    assert len(set(numbers)) == len(numbers) == ITEMS
    assert [ID for pair in zip(*two, strict=True) for ID, _ in pair] == [ID for ID, _ in alone]
    assert drawn(tmp_path / "3", 2) == two
    other = drawn(tmp_path / "4", 2, seed=2)
    assert [ID for ID, _ in other[0]] != [ID for ID, _ in two[0]]
    assert not set(numbers) & {number for share in other for _, number in share}
