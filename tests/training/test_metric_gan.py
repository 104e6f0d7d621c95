"""The metric discriminator's training: with the right labels, only when it is used, and resumable."""

import pytest
import torch

from lobes.errors import UserError
from lobes.training import metric_gan
from lobes.training.metric_gan import MetricGan


class Labels:
    """In place of the processes: notes the calls."""

    def __init__(self):
        self.calls, self.asked = [], None

    def ask(self, estimates, targets):
        self.calls.append("ask")
        self.asked = estimates

    def collect(self):
        self.calls.append("collect")
        return 1 + self.asked[:, 0]  # says which batch the labels belong to

    def close(self):
        self.calls.append("close")


def make(first_epoch=1):
    torch.manual_seed(0)
    return MetricGan(lambda parameters: torch.optim.SGD(parameters, 0.1), first_epoch, 1, 16000)


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    spectra, waves = torch.rand(2, 2, 40, 65, generator=generator), torch.rand(2, 2, 100, generator=generator)
    return tuple(spectra), tuple(waves)


@pytest.fixture
def seen(monkeypatch):
    """What the discriminator learns from."""
    calls = []
    monkeypatch.setattr(
        metric_gan,
        "discriminator_loss",
        lambda network, target, estimate, pesq: calls.append((target, estimate, pesq)) or network.slope.sum(),
    )
    return calls


def test_beside_a_gpu_it_learns_from_the_batch_before(monkeypatch, seen):
    monkeypatch.setattr(metric_gan, "has_cores_to_spare", lambda device: True)
    gan = make()
    gan.labels = Labels()
    first, second = batch(1), batch(2)
    assert gan.learn(*first) is None and gan.labels.calls == ["ask"]
    assert gan.learn(*second) is not None and gan.labels.calls == ["ask", "collect", "ask"]
    target, estimate, pesq = seen[0]
    assert torch.equal(target, first[0][0]) and torch.equal(estimate, first[0][1])
    assert torch.equal(pesq, 1 + first[1][1][:, 0])


def test_on_a_cpu_it_waits_for_the_labels_of_this_batch(seen):
    gan = make()
    gan.labels = Labels()
    first = batch(1)
    assert gan.learn(*first) is not None and gan.labels.calls == ["ask", "collect"]
    target, estimate, pesq = seen[0]
    assert torch.equal(target, first[0][0]) and torch.equal(estimate, first[0][1])
    assert torch.equal(pesq, 1 + first[1][1][:, 0])


def test_the_loss_falls_on_a_batch_that_stays():
    gan = make()
    gan.labels = Labels()
    losses = [gan.learn(*batch(1)) for _ in range(12)]
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_the_enhancers_loss_reaches_the_estimate_alone():
    (target, estimate), _ = batch(3)
    target.requires_grad_()
    estimate.requires_grad_()
    make().score(target, estimate).sum().backward()
    assert target.grad is None and bool(estimate.grad.abs().sum() > 0)


def test_a_gradient_that_is_not_finite_changes_nothing():
    gan = make()
    gan.labels = Labels()
    before = [parameter.clone() for parameter in gan.discriminator.parameters()]
    (target, estimate), waves = batch(4)
    assert gan.learn((target, torch.full_like(estimate, float("inf"))), waves) is not None
    assert all(torch.equal(a, b) for a, b in zip(before, gan.discriminator.parameters(), strict=True))


def test_a_checkpoint_brings_it_back(tmp_path):
    one, two = make(), make()
    one.labels = Labels()
    for _ in range(3):
        one.learn(*batch(1))
    one.save(tmp_path / "gan.ckpt")
    two.load(tmp_path / "gan.ckpt", end_of_epoch=True)
    pairs = zip(one.discriminator.state_dict().values(), two.discriminator.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_when_it_is_used():
    assert [make(3).active(epoch) for epoch in (2, 3, 4)] == [False, True, True]
    assert not make(None).active(99)
    gan = make()
    gan.close()  # nothing was started
    with pytest.raises(UserError, match="pesq_workers: expected at least 1"):
        MetricGan(torch.optim.SGD, 1, 0, 16000)
