"""Non-finite losses and gradients never reach the weights."""

from types import SimpleNamespace

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer
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
def test_N01_N02_bad_step_is_skipped_counted_and_named(bad, caplog):
    good, expected = weights_after([batch(), batch()])
    trained, weights = weights_after([batch(), batch(name="broken", **bad), batch()])
    assert torch.equal(weights, expected)
    assert trained.counts.skipped == 1 and trained.optimizer_step == 2
    assert "broken" in caplog.text


def test_N07_skipped_batch_does_not_enter_the_average():
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


def test_N03_many_in_a_row_stop_the_run_with_names():
    with pytest.raises(UserError, match="3 steps in a row .*utt7"):
        weights_after([batch()] + [batch(scale=float("nan"), name="utt7")] * 5, nonfinite_patience=3)


def test_skips_apart_from_each_other_do_not_stop_the_run():
    bad = batch(scale=float("nan"))
    trained, weights = weights_after([bad, batch(), bad, batch(), bad], nonfinite_patience=2)
    assert trained.counts.skipped == 3 and torch.isfinite(weights).all()


def test_window_with_one_bad_batch_is_skipped_whole():
    bad = batch(scale=float("nan"))
    trained, weights = weights_after([batch(), bad, batch(), batch()], grad_accumulation_factor=2)
    good, expected = weights_after([batch(), batch()], grad_accumulation_factor=2)
    assert trained.optimizer_step == 1 and torch.equal(weights, expected)


def points(*values):
    """Batches of one item each, whose gradients on the weight and the bias are 2 (w x + b - y) (x, 1)."""
    return [SimpleNamespace(x=torch.tensor([[x]]), y=2 * x + 1, scale=1.0, id=[f"x={x}"]) for x in values]


class Square(Line):
    def compute_objectives(self, predictions, batch, stage):
        return ((predictions - batch.y) ** 2).mean() * batch.scale


def squares_after(batches, epochs=1, factor=4, lr=0.1):
    line = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(line.weight), torch.nn.init.zeros_(line.bias)
    options = {"noprogressbar": True, "device": "cpu", "grad_accumulation_factor": factor, "max_grad_norm": 0.0}
    trained = Square({"line": line}, lambda p: torch.optim.SGD(p, lr), run_opts=options)
    trained.fit(range(epochs), loader(batches))
    return trained, torch.stack([line.weight.detach()[0, 0], line.bias.detach()[0]])


def step_by_hand(weights, xs, lr=0.1):
    """One step of gradient descent on the mean square error of y = 2 x + 1 over all points at once."""
    errors = [float(weights[0]) * x + float(weights[1]) - (2 * x + 1) for x in xs]
    gradient = [2 * sum(e * x for e, x in zip(errors, xs, strict=True)) / len(xs), 2 * sum(errors) / len(xs)]
    return weights - lr * torch.tensor(gradient)


def test_fewer_batches_than_a_window_step_once_an_epoch_with_their_mean_gradient():
    trained, weights = squares_after(points(1.0, -2.0), epochs=2)
    expected = step_by_hand(step_by_hand(torch.zeros(2), [1.0, -2.0]), [1.0, -2.0])
    assert trained.optimizer_step == 2
    torch.testing.assert_close(weights, expected)


def test_the_last_window_of_an_epoch_counts_its_own_batches():
    trained, weights = squares_after(points(1.0, 2.0, -1.0, 0.5, 3.0))
    expected = step_by_hand(step_by_hand(torch.zeros(2), [1.0, 2.0, -1.0, 0.5]), [3.0])
    assert trained.optimizer_step == 2
    torch.testing.assert_close(weights, expected)


def test_N07_a_nan_in_the_last_window_spoils_that_window_alone(caplog):
    epoch = points(1.0, 2.0, -1.0, 0.5, 3.0)
    epoch[4].scale = float("nan")
    trained, weights = squares_after(epoch, epochs=2)
    _, expected = squares_after(epoch[:4], epochs=2)
    assert trained.optimizer_step == 2 and trained.counts.skipped == 1
    assert torch.equal(weights, expected)
    assert "utterances: x=3.0)" in caplog.text


def test_no_checkpoint_is_written_while_a_window_is_open(tmp_path):
    class Asked(Square):
        answers: list[bool] = []

        def on_fit_batch_end(self, batch, outputs, loss, should_step):
            self.answers.append(self._should_save_intra_epoch_ckpt(0.0, 99))

    options = {"noprogressbar": True, "device": "cpu", "grad_accumulation_factor": 2, "ckpt_interval_steps": 1}
    checkpoints = Checkpointer(tmp_path)
    brain = Asked({"line": torch.nn.Linear(1, 1)}, lambda p: torch.optim.SGD(p, 0.1), None, options, checkpoints)
    brain.fit(range(1), loader(points(1.0, 2.0, 3.0, 4.0)))
    assert Asked.answers == [False, True, False, True]
