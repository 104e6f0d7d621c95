"""The numbers of a race: means over seeds, intervals over utterances, costs, a picture."""

import numpy as np
import pytest
import torch
from torch import nn

from lobes.reports import comparison
from lobes.runs.record import Outcome


class Network(nn.Linear):
    sample_rate, num_sources, causal = 8000, 1, False

    def __init__(self):
        super().__init__(1, 1, bias=False)

    def forward(self, mix, lengths=None):
        return super().forward(mix[..., None])


def outcome(gains, steps=10):
    facts = {"steps": steps, "seconds": 5.0, "parameters": 7, "peak_megabytes": 100.0 + steps}
    rows = [{"id": name, "variant": "SER", "si_sdri": gain} for name, gain in gains.items()]
    return Outcome({}, facts, [], rows)


def test_utterances_are_means_over_seeds_and_need_all_of_them():
    entry = comparison.entry(
        "a", [outcome({"x": "1", "y": "3", "z": ""}), outcome({"x": "2", "y": "5", "z": "9"}, 20)], Network(), 1
    )
    assert entry.gains.tolist() == [1.5, 4.0] and entry.by_seed == [2.0, 3.5]
    assert (entry.parameters, entry.steps, entry.peak_megabytes) == (7, 15, 120.0)
    assert entry.seconds_per_step == pytest.approx((0.5 + 0.25) / 2)
    assert entry.gmacs == pytest.approx(8e-6) and 0 < entry.rtf < 1


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        _, low, high = comparison.bootstrap(generator.standard_normal(80) + 2, draws=400)
        inside += low <= 2 <= high
    assert 0.90 <= inside / 300 <= 0.98


def test_the_table_starts_with_the_best_and_the_picture_is_one(tmp_path):
    entries = [
        comparison.entry(name, [outcome({"x": low, "y": low + 1})], Network(), 1) for name, low in (("a", 1), ("b", 4))
    ]
    lines = comparison.as_table(entries).splitlines()
    assert lines[2].startswith("| b | 4.50 [4.00, 5.00] | 4.50 | 7 |") and lines[3].startswith("| a | 1.50 ")
    comparison.plot(entries, tmp_path / "race.svg", {"title": "a race", "budget": "no time"})
    assert "<svg" in (tmp_path / "race.svg").read_text()


def test_threads_are_put_back():
    before = torch.get_num_threads()
    comparison.cost_of(Network(), 1)
    assert torch.get_num_threads() == before
