"""Signals for the metrics: enough like speech for PESQ and STOI to have an opinion."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def voice():
    """voice(seconds, seed, rate): noise in syllables."""

    def make(seconds=1.0, seed=0, rate=8000):
        time = np.arange(int(seconds * rate)) / rate
        noise = np.random.default_rng(seed).standard_normal(len(time))
        smooth = np.convolve(noise, np.hanning(9), "same")
        return 0.1 * smooth * (0.05 + np.sin(2 * np.pi * 2 * time + seed) ** 2)

    return make


@pytest.fixture(scope="session")
def scene(voice):
    """scene(sources, noise, seconds): estimates that beat the mixture, targets, mixture."""

    def make(sources=2, noise=0.3, seconds=1.0):
        targets = np.stack([voice(seconds, seed=source) for source in range(sources)], 1)
        hiss = 0.02 * np.random.default_rng(9).standard_normal(targets.shape)
        return targets + noise * hiss, targets, targets.sum(1) + hiss[:, 0]

    return make
