"""The deterministic weights and the input that the reference SPMamba was run with."""

import math

import pytest
import torch


def filled(state):
    """Weights of trained-like size, from the reference's names and shapes alone."""
    weights = {}
    for i, name in enumerate(sorted(state)):
        v = state[name]
        wave = torch.sin(torch.arange(v.numel(), dtype=torch.float64) * (0.37 + 0.001 * i))
        if name.endswith("A_log"):
            w = torch.log(torch.arange(1, v.shape[1] + 1, dtype=torch.float64)).repeat(v.shape[0], 1).flatten()
            w = w + 0.1 * wave
        elif name.endswith("dt_proj.bias"):
            w = -3.0 + wave
        elif name.endswith((".D", ".gamma", "norm.weight", "conv.1.weight")):
            w = 1 + 0.2 * wave
        elif v.shape == (1,):  # the slope of a PReLU
            w = 0.25 + 0.1 * torch.ones(1, dtype=torch.float64) * math.sin(i)
        elif v.dim() <= 1 or name.endswith(("beta", "bias")):
            w = 0.1 * wave
        else:
            w = wave * (1.5 / math.sqrt(v[0].numel()))
        weights[name] = w.reshape(v.shape).float()
    return weights


def chirp_at(sample_rate, total):
    """A sum of two sines and a chirp [1, T]."""
    t = torch.arange(total, dtype=torch.float64) / sample_rate
    x = 0.5 * torch.sin(2 * math.pi * 220 * t) + 0.3 * torch.sin(2 * math.pi * (333.3 + 400 * t) * t + 1.0)
    return (x + 0.05 * torch.cos(2 * math.pi * 1234.5 * t)).float()[None]


@pytest.fixture(scope="session")
def fill():
    """The rule that makes weights from a state dict with the reference's keys."""
    return filled


@pytest.fixture(scope="session")
def chirp():
    """The function that makes the input."""
    return chirp_at
