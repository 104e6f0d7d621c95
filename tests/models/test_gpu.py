"""Training steps on a true GPU: the loss falls in every precision, and estimates are those of the processor."""

from __future__ import annotations

import pytest
import torch

from lobes.models import get_model
from lobes.objectives import separation_loss

pytestmark = pytest.mark.gpu
PRESETS = ("spmamba_tiny", "convtasnet_tiny", "dpmamba_tiny", "bsrnn_8k_tiny", "tf_gridnet_mini")


@pytest.mark.parametrize("preset", PRESETS)
def test_estimates_are_those_of_the_processor(preset, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model, mix = get_model(preset).eval(), torch.randn(2, 4000)
    lengths = torch.tensor([1.0, 0.6])
    with torch.no_grad():
        expected = model(mix, lengths)
        got = model.cuda()(mix.cuda(), lengths).cpu()
    assert (got - expected).abs().max() <= 1e-3 * expected.abs().max()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_falls(preset, precision):
    model = get_model(preset).cuda()
    sources = torch.randn(2, 4000, model.num_sources, device="cuda").cumsum(1)
    sources = sources - sources.mean(1, keepdim=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    losses = []
    for _ in range(8):
        with torch.autocast("cuda", dtype=precision, enabled=precision != torch.float32):
            estimates = model(sources.sum(-1))
        loss = separation_loss(estimates, sources).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and all(map(torch.isfinite, torch.tensor(losses)))
