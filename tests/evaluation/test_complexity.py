"""Counts against closed formulas, and against the settled figures of SPMamba."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lobes.errors import UserError
from lobes.evaluation import complexity
from lobes.evaluation.complexity import count, table
from lobes.models import get_model, list_models
from lobes.models.registry import preset_meta, preset_path
from lobes.nnet.mamba import Mamba

RATE = 100


class Network(nn.Module):
    """Apply `function`, and hold the modules it uses."""

    sample_rate = RATE
    causal = False

    def __init__(self, function, *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(modules)

    def forward(self, mix):
        return self.function(mix, *self.parts)


CONVOLUTIONS = [
    (lambda: nn.Conv1d(3, 8, 5), 96 * 8 * 3 * 5),
    (lambda: nn.Conv1d(3, 6, 5, stride=2, padding=2, groups=3), 50 * 6 * 1 * 5),
    (lambda: nn.ConvTranspose1d(3, 8, 5, stride=2), 100 * 3 * 8 * 5),
]


@pytest.mark.parametrize(("make", "expected"), CONVOLUTIONS)
def test_convolutions(make, expected):
    network = Network(lambda mix, conv: conv(mix[:, None].expand(-1, 3, -1)), make())
    assert count(network) == complexity.Complexity(sum(p.numel() for p in network.parameters()), expected, 0)


def test_a_product_outside_any_module_counts():
    network = Network(lambda mix, linear: mix.reshape(1, 20, 5) @ linear.weight, nn.Linear(7, 5, bias=False))
    assert count(network).matmul == 20 * 5 * 7


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_attention_grows_with_the_square(seconds):
    def attend(mix):
        q = mix.reshape(1, 2, -1, 5)  # [B, H, L, E]
        return F.scaled_dot_product_attention(q, q, q)

    frames = int(10 * seconds)
    assert count(Network(attend), seconds).matmul == 2 * 2 * frames * frames * 5


def test_mamba_by_its_formula():
    steps, d_model, d_inner, rank, states, kernel = 25, 4, 8, 1, 16, 4
    network = Network(lambda mix, mamba: mamba(mix.reshape(1, -1, 4)), Mamba(d_model, d_state=states, expand=2))
    cost = count(network)
    products = d_model * 2 * d_inner + d_inner * (rank + 2 * states) + rank * d_inner + d_inner * d_model
    assert cost.matmul == steps * products + (steps + kernel - 1) * d_inner * kernel
    assert cost.scan == 9 * steps * d_inner * states + 2 * steps * d_inner
    assert cost.total == cost.matmul + cost.scan


def test_lstm_by_its_formula():
    steps, inputs, hidden = 20, 5, 7
    lstm = nn.LSTM(inputs, hidden, num_layers=2, bidirectional=True, batch_first=True)
    network = Network(lambda mix, lstm: lstm(mix.reshape(1, steps, inputs))[0], lstm)
    first, second = inputs + hidden, 2 * hidden + hidden  # columns of a direction's weights in each layer
    assert count(network).matmul == steps * 2 * 4 * hidden * (first + second)


def test_scans_that_cannot_be_counted_are_refused(monkeypatch):
    monkeypatch.setenv("LOBES_SCAN_BACKEND", "reference")
    network = Network(lambda mix, mamba: mamba(mix.reshape(1, -1, 4)), Mamba(4))
    with pytest.raises(UserError, match="'reference' is not an operator"):
        count(network)


def test_counting_leaves_the_model_and_the_library_as_they_were():
    model = get_model("spmamba_tiny").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.isfinite(model(torch.randn(1, 2000))).all()  # and it computes as before


# Products without and with the scan, counted independently.
SETTLED = [
    ("spmamba_16k", 6_141_826, 179.28e9, 234.97e9),
    ("spmamba_8k", 6_094_498, 88.9e9, 116.4e9),
]


@pytest.mark.parametrize(("preset", "parameters", "matmul", "total"), SETTLED)
def test_the_settled_figures_of_spmamba(preset, parameters, matmul, total):
    cost = count(get_model(preset))
    assert cost.parameters == parameters
    assert cost.matmul == pytest.approx(matmul, rel=1e-3)
    assert cost.total == pytest.approx(total, rel=1e-3)


def test_table_has_a_row_for_each_preset():
    lines = table(["spmamba_tiny", "convtasnet_tiny"]).splitlines()
    assert lines[0] == complexity.HEADER
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["`spmamba_tiny`", "`convtasnet_tiny`"]
    assert {line.count("|") for line in lines} == {lines[0].count("|")}


@pytest.mark.parametrize("preset", [name for name in list_models() if name.startswith("convtasnet")])
def test_receptive_field_of_the_convolutions(preset):
    head = preset_meta(preset)["receptive_field"]
    text = preset_path(preset).read_text(encoding="utf-8")
    size = {line[0]: int(line[3:]) for line in text.splitlines() if line[:1] in "LPXR" and line[1:3] == ": "}
    frames = 1 + size["R"] * (size["P"] - 1) * (2 ** size["X"] - 1)
    samples = (frames - 1) * size["L"] // 2 + size["L"]
    assert f"{samples / 8000:.2f} s" in head


def test_a_preset_without_facts_is_named(monkeypatch):
    monkeypatch.setattr(complexity, "preset_meta", lambda name: {"source": "somewhere", "num_sources": 2})
    with pytest.raises(UserError, match="spmamba_tiny: .*receptive_field"):
        table(["spmamba_tiny"])


def test_lstms_are_counted_weight_by_weight():
    """BSRNN, N=64, L=5: about 6.4 G multiply-accumulates a second."""
    cost = count(get_model("bsrnn"))
    frames, bands = 126, 31
    recurrent = 5 * frames * bands * (4 * 128 * (64 + 128)) * 3  # forward over time; both directions over bands
    assert cost.matmul > recurrent and 6.2e9 < cost.total < 6.6e9
