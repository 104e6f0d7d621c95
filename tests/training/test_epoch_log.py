"""The numbers of epochs: a picture in each run folder, TensorBoard's event files, a stand-in for Weights & Biases."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.training import epoch_log
from lobes.training.epoch_log import EpochLog, check_train_logger
from lobes.training.progress import LearningCurve


class Gain(nn.Module):
    """A network of one weight."""

    sample_rate, num_sources, causal = 8000, 1, False

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, mix, lengths=None):
        return (mix * self.weight)[..., None]


def events_of(folder):
    """Name -> steps and values, as TensorBoard shows them."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra track is not installed"
    )
    found = accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def row(epoch, score):
    return {"step": 10 * epoch, "epoch": epoch, "train_loss": -score, "valid_si_sdri": score}


def test_tensorboard_shows_the_learning_curve_also_of_a_run_that_was_stopped(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra track is not installed")
    curve = LearningCurve(tmp_path / "learning_curve.csv")
    for begin, epochs, score in ((0, (1, 2), 1.0), (10, (2, 3), 2.0)):  # epoch 2 is lost, and trained again
        log = EpochLog(curve, "tensorboard", {"lr": 0.1})
        curve.keep_until(begin // 10)
        log.begin(begin)
        for epoch in epochs:
            log.add(row(epoch, score))
        log.end()
    events = events_of(tmp_path)
    assert events["valid_si_sdri"] == [(10, 1.0), (20, 2.0), (30, 2.0)]
    assert events["train_loss"] == [(10, -1.0), (20, -2.0), (30, -2.0)] and "step" not in events


def test_a_training_writes_event_files_and_draws_its_curve(tiny_brain, separator_brain, noises, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra track is not installed")
    brain = tiny_brain(separator_brain, Gain(), epochs=2, train_logger="tensorboard")
    brain.fit(brain.hparams.epoch_counter, noises([800, 800]), noises([800]))
    rows = brain.curve.rows()
    events = events_of(brain.curve.path.parent)
    assert len(rows) == 2 and [step for step, _ in events["valid_si_sdr"]] == [int(one["step"]) for one in rows]
    assert [value for _, value in events["lr"]] == pytest.approx([float(one["lr"]) for one in rows])
    assert (brain.curve.path.parent / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_training_without_a_logger_draws_its_curve_and_writes_no_events(tiny_brain, separator_brain, noises):
    brain = tiny_brain(separator_brain, Gain(), epochs=1)
    brain.fit(brain.hparams.epoch_counter, noises([800, 800]), noises([800]))
    folder = brain.curve.path.parent
    assert (folder / "learning_curve.png").is_file() and not (folder / "tensorboard").exists()


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package: what it was given."""
    given = SimpleNamespace(started=[], rows=[], finished=0)

    def init(**settings):
        given.started.append(settings)
        finish = lambda: setattr(given, "finished", given.finished + 1)  # noqa: E731
        return SimpleNamespace(log=lambda numbers, step: given.rows.append((step, numbers)), finish=finish)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=SimpleNamespace()))
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return given


def test_weights_and_biases_stays_offline_and_a_resumed_run_is_the_same_run(wandb, tmp_path, monkeypatch):
    for _ in range(2):
        log = EpochLog(LearningCurve(tmp_path / "learning_curve.csv"), "wandb", {"lr": 0.1, "budget": object()})
        log.begin(0)
        log.add(row(1, 3.0))
        log.end()
    first, second = wandb.started
    assert first["mode"] == "offline" and first["dir"] == str(tmp_path) and first["config"] == {"lr": 0.1}
    assert first["id"] == second["id"] and first["project"] == "lobes" and wandb.finished == 2
    assert wandb.rows == [(10, row(1, 3.0))] * 2
    monkeypatch.setenv("WANDB_MODE", "online")
    EpochLog(LearningCurve(tmp_path / "learning_curve.csv"), "wandb", {}).begin(0)
    assert wandb.started[-1]["mode"] == "online"


def test_the_picture_is_drawn_once_a_minute(tmp_path, monkeypatch):
    seconds = iter([0.0, 0.0, 30.0, 61.0, 61.0, 90.0, 90.0])
    monkeypatch.setattr(epoch_log.time, "monotonic", lambda: next(seconds))
    log = EpochLog(LearningCurve(tmp_path / "learning_curve.csv"), None, {})
    drawn = []
    for epoch in (1, 2, 3, 4):
        log.add(row(epoch, 1.0))
        drawn.append((tmp_path / "learning_curve.png").is_file())
        (tmp_path / "learning_curve.png").unlink(missing_ok=True)
    assert drawn == [True, False, True, False]
    log.end()
    assert (tmp_path / "learning_curve.png").is_file()


def test_a_logger_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(epoch_log.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train_logger: tensorboard is not installed: .*\[track\]"):
        check_train_logger("tensorboard")
    with pytest.raises(UserError, match="wandb is not installed: pip install wandb"):
        check_train_logger("wandb")
