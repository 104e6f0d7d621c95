"""Non-finite losses and gradients never reach the weights."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from lobes.errors import UserError
from lobes.training.safe_step import SafeStepBrain


class Line(SafeStepBrain):
    def compute_forward(self, batch, stage):
        return self.modules.line(batch.x)

    def compute_objectives(self, predictions, batch, stage):
        if getattr(batch, "bad_gradient", False):
            return (predictions.sum() * 0).sqrt()  # finite loss 0, gradient 0 * inf = NaN
        return predictions.mean() * batch.scale


def batch(scale=1.0, name="utt", **extra):
    return SimpleNamespace(x=torch.ones(2, 3), scale=scale, id=[name], **extra)


def loader(batches):
    return DataLoader(batches, batch_size=None, collate_fn=lambda one: one)


def brain(**options):
    torch.manual_seed(0)
    options = {"noprogressbar": True, "device": "cpu", "nonfinite_patience": 20, **options}
    return Line({"line": torch.nn.Linear(3, 1)}, lambda p: torch.optim.SGD(p, lr=0.1), run_opts=options)


def weights_after(batches, **options):
    trained = brain(**options)
    trained.fit(range(1), loader(batches))
    return trained, trained.modules.line.weight.detach().clone()


@pytest.mark.parametrize("bad", [{"scale": float("nan")}, {"scale": float("inf")}, {"bad_gradient": True}])
def test_bad_step_is_skipped_counted_and_named(bad, caplog):
    good, expected = weights_after([batch(), batch()])
    trained, weights = weights_after([batch(), batch(name="broken", **bad), batch()])
    assert torch.equal(weights, expected)
    assert trained.skipped_steps == 1 and trained.optimizer_step == 2
    assert "broken" in caplog.text


def test_skipped_batch_does_not_enter_the_average():
    losses = []

    class Watch(Line):
        def on_stage_end(self, stage, stage_loss, epoch=None):
            losses.append(stage_loss)

    def run(batches):
        torch.manual_seed(0)
        Watch({"line": torch.nn.Linear(3, 1)}, lambda p: torch.optim.SGD(p, lr=0.1),
              run_opts={"noprogressbar": True}).fit(range(1), loader(batches))  # fmt: skip

    run([batch(), batch(), batch()])
    run([batch(), batch(scale=float("nan")), batch(), batch()])
    assert losses[0] == pytest.approx(losses[1])


def test_many_in_a_row_stop_the_run_with_names():
    with pytest.raises(UserError, match="3 steps in a row .*utt7"):
        weights_after([batch()] + [batch(scale=float("nan"), name="utt7")] * 5, nonfinite_patience=3)


def test_skips_apart_from_each_other_do_not_stop_the_run():
    bad = batch(scale=float("nan"))
    trained, weights = weights_after([bad, batch(), bad, batch(), bad], nonfinite_patience=2)
    assert trained.skipped_steps == 3 and torch.isfinite(weights).all()


def test_window_with_one_bad_batch_is_skipped_whole():
    bad = batch(scale=float("nan"))
    trained, weights = weights_after([batch(), bad, batch(), batch()], grad_accumulation_factor=2)
    good, expected = weights_after([batch(), batch()], grad_accumulation_factor=2)
    assert trained.optimizer_step == 1 and torch.equal(weights, expected)
