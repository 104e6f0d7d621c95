"""The metric discriminator: its size, its two losses, and clips without a PESQ."""

from __future__ import annotations

import torch

from lobes.objectives.discriminator import (
    MetricDiscriminator,
    discriminator_loss,
    generator_loss,
    scaled_pesq,
)


def magnitudes(items=3):
    torch.manual_seed(0)
    return torch.rand(2, items, 63, 129)


def test_it_has_the_published_size():
    assert sum(p.numel() for p in MetricDiscriminator().parameters()) == 181_650


def test_its_loss_by_hand():
    target, estimate = magnitudes()
    model = MetricDiscriminator().eval()
    pesq = torch.tensor([1.0, 2.75, 4.5])
    with torch.no_grad():
        expected = (model(target, target) - 1).square() + (model(target, estimate) - torch.tensor([0, 0.5, 1])).square()
        assert torch.allclose(discriminator_loss(model, target, estimate, pesq), expected.mean())
        assert torch.allclose(generator_loss(model, target, estimate), (model(target, estimate) - 1).square())
    assert scaled_pesq(torch.tensor(2.75)) == 0.5


def test_a_clip_without_pesq_masks_itself_and_not_the_batch():
    target, estimate = magnitudes()
    model = MetricDiscriminator().eval()
    pesq = torch.tensor([1.5, torch.nan, 3.0])
    kept = [0, 2]
    with torch.no_grad():
        whole = discriminator_loss(model, target, estimate, pesq)
        assert torch.allclose(whole, discriminator_loss(model, target[kept], estimate[kept], pesq[kept]))
    nothing = discriminator_loss(model, target, estimate, torch.full((3,), torch.nan))
    nothing.backward()
    assert nothing == 0 and all(not p.grad.any() for p in model.parameters())


def test_gradients_go_where_they_should():
    target, estimate = magnitudes()
    estimate.requires_grad_()
    model = MetricDiscriminator().eval()
    discriminator_loss(model, target, estimate, torch.tensor([1.0, 2.0, 3.0])).backward()
    assert estimate.grad is None and all(p.grad is not None for p in model.parameters())
    generator_loss(model, target, estimate).sum().backward()
    assert estimate.grad.abs().sum() > 0


def test_it_learns_to_tell_bad_from_good():
    target, _ = magnitudes(4)
    noise = torch.rand(4, 63, 129)
    share = torch.tensor([0.0, 0.3, 0.6, 1.0])[:, None, None]
    estimate, pesq = (1 - share) * target + share * noise, torch.tensor([4.5, 3.0, 2.0, 1.0])
    model = MetricDiscriminator()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        loss = discriminator_loss(model, target, estimate, pesq)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
