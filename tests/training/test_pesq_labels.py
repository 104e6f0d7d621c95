"""PESQ from processes that run during the training: right, in order, and NaN for a silent clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lobes.metrics.measures import pesq
from lobes.training.pesq_labels import PesqLabels

RATE = 16000


@pytest.fixture
def clips():
    time = np.arange(RATE) / RATE
    noise = np.random.default_rng(0).standard_normal((3, RATE))
    clean = 0.1 * np.sin(2 * np.pi * 3 * time) ** 2 * np.sin(2 * np.pi * 200 * time) + 0.02 * noise
    clean[1] = 0
    estimates = clean + np.array([[0.01], [0.01], [0.1]]) * np.random.default_rng(1).standard_normal((3, RATE))
    return torch.from_numpy(estimates).float(), torch.from_numpy(clean).float()


def test_labels_come_in_order_and_a_silent_clip_masks_itself(clips):
    estimates, clean = clips
    labels = PesqLabels(workers=2, sample_rate=RATE)
    try:
        for _ in range(2):  # a second batch by the same processes
            labels.ask(estimates, clean)
            got = labels.collect()
            assert torch.isnan(got[1]) and not torch.isnan(got[[0, 2]]).any()
            for item in (0, 2):
                expected = pesq(estimates[item].numpy(), clean[item].numpy(), RATE)
                assert got[item].item() == pytest.approx(expected, abs=1e-5)
        assert labels.waited > 0 and labels.collect().shape == (0,)
    finally:
        labels.close()
