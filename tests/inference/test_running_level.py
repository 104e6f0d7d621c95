"""The level of a live stream: no look ahead, any chunks, in the end the level of the whole."""

from __future__ import annotations

import pytest
import torch

from lobes.inference.running_level import RunningLevel
from lobes.nnet.level import fit_level


def signals(samples: int = 16000) -> tuple[torch.Tensor, torch.Tensor]:
    """A mixture [1,T], and estimates [1,T,2] of its sources at another level and sign."""
    sources = torch.randn(1, samples, 2, generator=torch.Generator().manual_seed(0))
    return sources.sum(2), sources * torch.tensor([30.0, -0.02])


def streamed(mix: torch.Tensor, estimates: torch.Tensor, size: int, late: int = 0) -> torch.Tensor:
    """In chunks, where estimates come out `late` samples after their mixture."""
    level, parts, out = RunningLevel(8000, 2), [], 0
    for start in range(0, mix.shape[1], size):
        chunk = mix[:, start : start + size]
        due = max(start + chunk.shape[1] - late, 0)
        parts.append(level(chunk, estimates[:, out:due]))
        out = due
    return torch.cat([*parts, level(mix[:, :0], estimates[:, out:])], 1)


@pytest.mark.parametrize("size, late", [(1, 0), (37, 50), (160, 256), (20000, 0)])
def test_chunks_and_latency_change_nothing(size: int, late: int):
    mix, estimates = signals(1200)
    whole = RunningLevel(8000, 2)(mix, estimates)
    got = streamed(mix, estimates, size, late)
    assert got.shape == whole.shape and torch.allclose(got, whole, atol=1e-5)


def test_nothing_depends_on_later_samples():
    mix, estimates = signals(1600)
    whole = streamed(mix, estimates, 100)
    mix[:, 900:], estimates[:, 900:] = 5, 7
    assert torch.allclose(streamed(mix, estimates, 100)[:, :900], whole[:, :900], atol=1e-6)


def test_it_comes_to_the_level_of_the_whole():
    mix, estimates = signals()
    late = slice(8000, None)
    got, expected = streamed(mix, estimates, 160)[:, late], fit_level(estimates, mix)[:, late]
    assert (got - expected).square().mean() < 1e-3 * expected.square().mean()


def test_silence_and_its_end():
    mix, estimates = signals(3200)
    mix[:, :1600], estimates[:, :1600] = 0, 0
    got = streamed(mix, estimates, 160)
    assert got.isfinite().all() and not got[:, :1680].any() and got[:, 1700:].any()
