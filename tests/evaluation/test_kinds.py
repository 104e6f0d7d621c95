"""Operations by kind against closed forms, of layers and of a whole small network of each family."""

from __future__ import annotations

from math import ceil, log2

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lobes.config import read_preset
from lobes.evaluation.complexity import count
from lobes.evaluation.kinds import KINDS, macs_by_kind
from lobes.models import get_model
from lobes.nnet.mamba import Mamba

RATE, WITHIN = 8000, 0.005


class Layer(nn.Module):
    """A function of a mixture of 120 samples, and the module that it uses."""

    sample_rate = 120

    def __init__(self, function, module: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.module = function, module

    def forward(self, mix):
        return self.function(mix, self.module)


def present(kinds: dict[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in kinds.items() if number}


def attend(mix, attention):
    x = mix.reshape(1, 30, 4)
    return attention(x, x, x, need_weights=False)


MAMBA = 30 * (4 * 16 + 8 * (1 + 32) + 1 * 8 + 8 * 4), (30 + 3) * 8 * 4, 9 * 30 * 8 * 16 + 2 * 30 * 8
LAYERS = {
    "linear": (lambda: Layer(lambda x, m: m(x.reshape(30, 4)), nn.Linear(4, 7)), {"linear": 30 * 4 * 7}),
    "weights from the left": (
        lambda: Layer(lambda x, m: m.weight @ x.reshape(1, 4, 30), nn.Linear(4, 7)),
        {"linear": 30 * 4 * 7},
    ),
    "conv1d": (lambda: Layer(lambda x, m: m(x[:, None]), nn.Conv1d(1, 6, 5, stride=2)), {"convolution": 58 * 6 * 5}),
    "conv2d": (
        lambda: Layer(lambda x, m: m(x.reshape(1, 2, 6, 10)), nn.Conv2d(2, 4, 3, groups=2, padding=1)),
        {"convolution": 6 * 10 * 4 * 1 * 9},
    ),
    "transposed": (
        lambda: Layer(lambda x, m: m(x.reshape(1, 4, 30)), nn.ConvTranspose1d(4, 3, 5, stride=2)),
        {"convolution": 30 * 4 * 3 * 5},
    ),
    "lstm": (
        lambda: Layer(lambda x, m: m(x.reshape(1, 30, 4)), nn.LSTM(4, 5, bidirectional=True, batch_first=True)),
        {"recurrent": 30 * 2 * 4 * 5 * (4 + 5)},
    ),
    "gru": (
        lambda: Layer(lambda x, m: m(x.reshape(1, 30, 4)), nn.GRU(4, 5, batch_first=True)),
        {"recurrent": 30 * 3 * 5 * (4 + 5)},
    ),
    "attention": (
        lambda: Layer(attend, nn.MultiheadAttention(4, 2, batch_first=True)),
        {"linear": 30 * 4 * 16, "attention": 2 * 30 * 30 * 4},
    ),
    "attention alone": (
        lambda: Layer(lambda x, m: F.scaled_dot_product_attention(*3 * [x.reshape(1, 2, 10, 6)])),
        {"attention": 2 * 2 * 10 * 10 * 6},
    ),
    "mamba": (
        lambda: Layer(lambda x, m: m(x.reshape(1, 30, 4)), Mamba(4, d_state=16, expand=2)),
        dict(zip(("linear", "convolution", "scan"), MAMBA, strict=True)),
    ),
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_by_their_closed_forms(name, frozen):
    make, expected = LAYERS[name]
    kinds = macs_by_kind(make().requires_grad_(not frozen))
    assert tuple(kinds) == KINDS and present(kinds) == expected


def test_transforms_stand_apart():
    network = Layer(lambda x, m: torch.fft.irfft(torch.fft.rfft(x.reshape(6, 20))))
    assert present(macs_by_kind(network)) == {"stft": round(2 * 1.25 * 120 * log2(20))}
    assert count(network).total == 0


# ------------------------------------------------------------------ networks, for one second at 8 kHz
def masking(p):
    """Encoder and decoder of one-dimensional filters: frames, and multiply-accumulates of both."""
    frames = (RATE - p["L"]) // (p["L"] // 2) + 1
    return frames, frames * p["N"] * p["L"] * (1 + 2)


def dual_path(p):
    """Frames, positions in all chunks, chunks, and the convolutions around the layers."""
    frames, filters = masking(p)
    half = p["K"] // 2
    gap = p["K"] - (half + frames % p["K"]) % p["K"]
    chunks = 2 * (frames + gap + half) // p["K"]
    positions = chunks * p["K"]
    around = frames * p["N"] ** 2 + positions * p["N"] * 2 * p["N"] + 2 * frames * 3 * p["N"] ** 2
    return positions, chunks, filters + around


def convtasnet(p):
    frames, filters = masking(p)
    block = 2 * p["B"] * p["H"] + p["P"] * p["H"]
    return {"convolution": filters + frames * (p["N"] * p["B"] + p["X"] * p["R"] * block + p["B"] * 2 * p["N"])}


def dprnn(p):
    positions, _, convolutions = dual_path(p)
    lstm, out = 2 * 4 * p["n_units"] * (p["N"] + p["n_units"]), 2 * p["n_units"] * p["N"]
    layers = 2 * p["n_layers"] * positions
    return {"convolution": convolutions, "recurrent": layers * lstm, "linear": layers * out}


def sepformer(p):
    positions, chunks, convolutions = dual_path(p)
    layers = p["n_layers"] * p["n_transformer_layers"]
    linear = 2 * layers * positions * (4 * p["N"] ** 2 + 2 * p["N"] * p["d_ffn"])
    attention = layers * positions * 2 * p["N"] * (p["K"] + chunks)  # within the chunks, and across them
    return {"convolution": convolutions, "linear": linear, "attention": attention}


def mamba_tasnet(p):
    frames, filters = masking(p)
    width, inner, rank = p["d_model"], p["d_model"] * p["expand"], ceil(p["d_model"] / 16)
    direction = inner * (rank + 2 * p["d_state"]) + rank * inner
    linear = width * 2 * inner + 2 * direction + inner * width
    return {
        "convolution": filters + p["n_layers"] * 2 * frames * inner * 4,
        "linear": frames * (p["N"] * width + p["n_layers"] * linear + width * 2 * p["N"]),
        "scan": p["n_layers"] * 2 * frames * inner * (9 * p["d_state"] + 2),
    }


def grid(p):
    """Steps along bins and frames with the sequences that they make up, and everything outside of the sequence models.

    Both run on frames and bins that are padded to whole windows.
    """
    frames, bins = RATE // p["hop_length"] + 1, p["n_fft"] // 2 + 1
    size, width, heads = p["emb_hs"], p["emb_dim"], p["n_heads"]
    windows_f, windows_l = ceil(bins / size), ceil(frames / size)
    sequences = windows_l * size + windows_f * size
    steps = windows_l * size * windows_f + windows_f * size * windows_l
    query = ceil(p["approx_qk_dim"] / bins)
    attention = p["n_layers"] * heads * frames**2 * bins * (query + width // heads)
    projections = p["n_layers"] * frames * bins * width * (heads * 2 * query + 2 * width)
    # LSTMs and Mamba alike: the two-dimensional convolutions at the input and at the output
    return steps, sequences, attention, projections, frames * bins * 9 * (2 * width + width * 4), 3 * frames


def transforms(p, number):
    return round(number * 1.25 * p["n_fft"] * log2(p["n_fft"]))


def tf_gridnet(p):
    steps, _, attention, projections, convolutions, spectra = grid(p)
    features, units = p["emb_dim"] * p["emb_ks"], p["lstm_hidden_units"]
    steps *= p["n_layers"]
    return {
        "recurrent": steps * 2 * 4 * units * (features + units),
        "linear": projections + steps * 2 * units * features,
        "convolution": convolutions,
        "attention": attention,
        "stft": transforms(p, spectra),
    }


def spmamba(p):
    steps, sequences, attention, projections, convolutions, spectra = grid(p)
    features = p["emb_dim"] * p["emb_ks"]
    inner, rank, n = features * p["expand"], ceil(features / 16), p["d_state"]
    direction = features * 2 * inner + inner * (rank + 2 * n) + rank * inner + inner * features
    layers = p["n_layers"]
    return {
        "linear": projections + layers * steps * (2 * direction + 2 * features * features),
        "convolution": convolutions + layers * 2 * (steps + 3 * sequences) * inner * 4,
        "scan": layers * 2 * steps * inner * (9 * n + 2),
        "attention": attention,
        "stft": transforms(p, spectra),
    }


FAMILIES = {
    "convtasnet_tiny": convtasnet,
    "dprnn_tiny": dprnn,
    "sepformer_tiny": sepformer,
    "mamba_tasnet_tiny": mamba_tasnet,
    "tf_gridnet_mini": tf_gridnet,
    "spmamba_tiny": spmamba,
}


@pytest.mark.parametrize("preset", FAMILIES)
def test_a_network_of_each_family_by_its_closed_form(preset):
    kinds = present(macs_by_kind(get_model(preset)))
    expected = FAMILIES[preset](read_preset(preset).options)
    assert kinds == pytest.approx(expected, rel=WITHIN)


def test_a_network_on_bands_by_its_closed_form():
    model, p = get_model("bsrnn_8k_tiny"), read_preset("bsrnn_8k_tiny").options
    width, units, bands = p["n_channels"], 2 * p["n_channels"], len(model.widths)
    points = p["n_layers"] * (RATE // p["hop_length"] + 1) * bands * 3  # forward over time, both ways over bands
    of_bands = sum(weight.numel() for weight in model.parameters() if weight.dim() == 3)  # [bands, in, out]
    expected = {
        "recurrent": points * 4 * units * (width + units),
        "linear": (RATE // p["hop_length"] + 1) * of_bands + points * units * width,
        "stft": transforms(p, 3 * (RATE // p["hop_length"] + 1)),
    }
    assert present(macs_by_kind(model)) == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize("preset", ["convtasnet_tiny", "sepformer_tiny"])
def test_the_sum_is_that_of_pytorchs_counter(preset):
    model = get_model(preset).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(torch.randn(1, RATE // 4))
    assert count(model, 0.25).total == counter.get_total_flops() // 2
