"""A training step of a fixed shape, captured once in a CUDA graph and replayed on other audio. On a GPU alone.

`tests/devices/test_models.py` shows without a GPU that nothing stands in the way of it.
"""

from __future__ import annotations

import pytest
import torch

from lobes.models import get_model


def passes(model, mix):
    """The estimates; gradients are added to those of the weights."""
    estimates = model(mix)
    estimates.square().mean().backward()
    return estimates


def gradients(model):
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny"])
def test_a_captured_step_replays_on_other_audio(preset):
    torch.manual_seed(0)
    model = get_model(preset).cuda().train()
    audio = [torch.randn(2, 4000, device="cuda") for _ in range(2)]
    static = audio[0].clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # kernels are compiled and libraries started before the capture
        for _ in range(3):
            model.zero_grad(set_to_none=True)
            passes(model, static)
    torch.cuda.current_stream().wait_stream(aside)
    model.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        estimates = passes(model, static)
    kept = gradients(model)
    for mix in audio:
        static.copy_(mix)
        for gradient in kept:
            gradient.zero_()
        graph.replay()
        replayed = [estimates.detach().clone(), *(gradient.clone() for gradient in kept)]
        model.zero_grad(set_to_none=True)
        expected = [passes(model, mix).detach(), *gradients(model)]
        for weight, gradient in zip((w for w in model.parameters() if w.grad is not None), kept, strict=True):
            weight.grad = gradient
        for got, truth in zip(replayed, expected, strict=True):
            assert torch.allclose(got, truth, rtol=1e-4, atol=1e-5 * float(truth.abs().max()))
