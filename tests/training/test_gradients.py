"""What a safe step does to gradients: one limit for all groups together, and no step on a loss that is not finite."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from lobes.training.safe_step import SafeStepBrain

LR = 0.1


class Line(SafeStepBrain):
    """The loss is scale * mean + offset: the gradient does not depend on the offset."""

    def compute_forward(self, batch, stage):
        return self.modules.line(batch.x)

    def compute_objectives(self, predictions, batch, stage):
        return predictions.mean() * batch.scale + batch.offset


def batch(scale=1.0, offset=0.0, name="utt"):
    return SimpleNamespace(x=torch.ones(2, 3), scale=scale, offset=offset, id=[name])


def one_group(parameters):
    return torch.optim.SGD(parameters, LR)


def group_each(parameters):
    return torch.optim.SGD([{"params": [parameter]} for parameter in parameters], LR)


def fitted(batches, optimizer=one_group, **options):
    """The Brain, and how far its four weights have moved in all."""
    torch.manual_seed(0)
    line = torch.nn.Linear(3, 1)
    before = torch.nn.utils.parameters_to_vector(line.parameters()).detach().clone()
    brain = Line({"line": line}, optimizer, run_opts={"noprogressbar": True, "device": "cpu", **options})
    brain.fit(range(1), DataLoader(batches, batch_size=None, collate_fn=lambda one: one))
    return brain, float((torch.nn.utils.parameters_to_vector(line.parameters()) - before).detach().norm())


@pytest.mark.parametrize("optimizer", [one_group, group_each])
@pytest.mark.parametrize("limit", [0.5, 5.0])
def test_a_large_gradient_is_cut_to_the_limit(optimizer, limit):
    brain, moved = fitted([batch(scale=1000.0)], optimizer, max_grad_norm=limit)
    assert moved == pytest.approx(LR * limit, rel=1e-4)
    assert brain.counts.grad_norm == pytest.approx(2000.0)  # four derivatives of 1000: the log shows it as it was


def test_a_small_gradient_and_no_limit_leave_it_alone():
    assert fitted([batch()], max_grad_norm=5.0)[1] == pytest.approx(LR * 2.0, rel=1e-4)
    assert fitted([batch(scale=1000.0)], max_grad_norm=0.0)[1] == pytest.approx(LR * 2000.0, rel=1e-4)


@pytest.mark.parametrize("offset", [float("inf"), float("nan")])
def test_a_loss_that_is_not_finite_is_not_trained_on_though_its_gradient_is_finite(offset, caplog):
    brain, moved = fitted([batch(offset=offset, name="broken")])
    assert moved == 0 and brain.counts.skipped == 1 and brain.optimizer_step == 0
    assert "loss" in caplog.text and "broken" in caplog.text


def test_fp16_lowers_its_scale_until_a_step_is_taken():
    """The gradients of 8 overflow at scales of 2^127 to 2^125; such steps are skipped and counted as any other."""
    torch.manual_seed(0)
    line = torch.nn.Linear(3, 1)
    before = torch.nn.utils.parameters_to_vector(line.parameters()).detach().clone()
    options = {"noprogressbar": True, "device": "cpu", "max_grad_norm": 5.0, "nonfinite_patience": 20}
    brain = Line({"line": line}, one_group, run_opts=options)
    brain.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    brain.fit(range(1), DataLoader([batch(scale=8.0)] * 5, batch_size=None, collate_fn=lambda one: one))
    moved = float((torch.nn.utils.parameters_to_vector(line.parameters()) - before).detach().norm())
    assert (brain.counts.skipped, brain.counts.taken, brain.scaler.get_scale()) == (3, 2, 2.0**124)
    assert moved == pytest.approx(2 * LR * 5.0, rel=1e-4)
