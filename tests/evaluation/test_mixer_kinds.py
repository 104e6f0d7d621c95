"""Operations of the sequence mixers against closed forms, and of a network of each kind of frame."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lobes.evaluation.kinds import macs_by_kind
from lobes.models import get_model
from lobes.nnet.mixers import make_mixers
from lobes.nnet.mixers.chunks import CHUNK

STEPS, D, W, H, N, K, TAPS, BLOCK = 150, 6, 16, 2, 5, 4, 31, 4


class Layer(nn.Module):
    """A mixer on STEPS steps of D channels."""

    sample_rate = STEPS * D

    def __init__(self, name: str, direction: str) -> None:
        super().__init__()
        self.mixers = nn.ModuleList(make_mixers(name, D, direction, W, heads=H, d_state=N, d_conv=K))

    def forward(self, mix):
        x = mix.reshape(1, STEPS, D)
        return sum(mixer(x) for mixer in self.mixers)


def chunked(rows: int, columns: int, shared: bool):
    """Products of a matrix memory of rows x columns per head, in chunks."""
    lengths = [min(CHUNK, STEPS - start) for start in range(0, STEPS, CHUNK)]
    pairs = sum(n * n for n in lengths)
    return pairs * rows * (1 if shared else H) + H * (pairs * columns + 2 * STEPS * rows * columns)


EXPECTED = {
    "mamba2": {
        "linear": STEPS * (D * (2 * W + 2 * N + H) + W * D),
        "convolution": (STEPS + K - 1) * (W + 2 * N) * K,
        "attention": chunked(N, W // H, shared=True),
    },
    "xlstm": {
        "linear": STEPS * (D * 2 * W + 3 * W * BLOCK + 3 * W * 2 * H + W * D),
        "convolution": (STEPS + K - 1) * W * K,
        "attention": chunked(W // H, W // H + 1, shared=False),
    },
    "lstm": {"recurrent": STEPS * 4 * W * (D + W), "linear": STEPS * W * D},
    "attention": {"linear": STEPS * 4 * D * W, "attention": 2 * STEPS**2 * W},
    "conv": {"linear": STEPS * 3 * D * W, "convolution": (STEPS + TAPS - 1) * W * TAPS},
    "mamba": {
        "linear": STEPS * (D * 2 * W + W * (1 + 2 * N) + W + W * D),
        "convolution": (STEPS + K - 1) * W * K,
        "scan": STEPS * W * (9 * N + 2),
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_mixer_forward_by_its_closed_form(name):
    found = {kind: count for kind, count in macs_by_kind(Layer(name, "forward")).items() if count}
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", ["mamba2", "xlstm", "lstm"])
def test_two_directions_cost_twice_as_much(name):
    found = {kind: count for kind, count in macs_by_kind(Layer(name, "both")).items() if count}
    assert found == {kind: 2 * count for kind, count in EXPECTED[name].items()}


@pytest.mark.parametrize("mixer", ["mamba2", "xlstm"])
def test_a_network_is_counted_as_it_runs(mixer):
    """Fake tensors give what PyTorch's own counter sees on real ones."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    model = get_model("bs_bimamba_abl2", n_channels=8, n_layers=1, mixer=mixer).eval()
    kinds = macs_by_kind(model, 0.06)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.randn(1, 960))
    ours = kinds["linear"] + kinds["attention"]  # the compiled convolution is unknown to PyTorch
    assert ours == pytest.approx(counter.get_total_flops() // 2, rel=0.005)
