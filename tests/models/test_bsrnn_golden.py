"""BSRNN against its open implementation: numbers of that code, and a slow form written band by band from its formulas.

`golden/bsrnn_fp64.json` holds outputs and gradients of github.com/sungwon23/BSRNN @ 5731ef9 in fp64 on the CPU, with
the weights and the input of `golden/fill.py`. B batch, T samples, L frames, F bins, K bands, N channels.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError
from lobes.models import get_model
from lobes.models.bsrnn import BSRNN
from lobes.models.convert.bsrnn_reference import from_reference, to_reference
from lobes.nnet.bands import FIXED

FOLDER = Path(__file__).with_name("golden")
GOLDEN = json.loads((FOLDER / "bsrnn_fp64.json").read_text())["configurations"]
RULE = runpy.run_path(str(FOLDER / "fill.py"))
TOLERANCES = [(torch.float64, 1e-9), (torch.float32, 5e-6)]


def golden_model(name, dtype=torch.float64):
    """The model with the golden weights, which sees the waveform as it is, and its input [B, T]."""
    golden = GOLDEN[name]
    model = from_reference(RULE["fill"](dict(golden["state_dict"])), level="none", reflected_hop=True)
    return model.to(dtype), RULE["inp"](golden["sample_rate"], golden["samples"], golden["scales"]).to(dtype)


def spectrum_of(model, x):
    """The network's output, complex [B, L, F]."""
    parts = model.spectra(model.stft(x))[:, 0]
    return torch.complex(parts[:, 0], parts[:, 1])


def gradients_of(model):
    """Gradients under the open code's keys."""
    for parameter in model.parameters():
        parameter.data = parameter.grad
    return to_reference(model)


@pytest.mark.parametrize("dtype, tolerance", TOLERANCES)
@pytest.mark.parametrize("name", GOLDEN)
def test_spectra_and_gradients_are_those_of_the_open_code(name, dtype, tolerance):
    model, x = golden_model(name, dtype)
    golden, y = GOLDEN[name]["spectrum"], spectrum_of(model, x)
    assert y.shape == (len(x), golden["shape"][2], golden["shape"][1])
    for item, bin_, frame, real, imaginary in golden["item_bin_frame_real_imag"]:
        assert abs(complex(y[item, frame, bin_].detach()) - complex(real, imaginary)) <= tolerance * golden["maxabs"]
    assert y.abs().sum((1, 2)).tolist() == pytest.approx(golden["abssum"], rel=tolerance)
    torch.view_as_real(y).square().sum().backward()
    gradients = gradients_of(model)
    for key, expected in GOLDEN[name]["gradients"].items():
        found = gradients[key].flatten()
        assert float(found.abs().max()) == pytest.approx(expected["maxabs"], rel=tolerance)
        for index, value in expected["at"].items():
            assert abs(float(found[int(index)]) - value) <= tolerance * expected["maxabs"]


@pytest.mark.parametrize("framing, training", [("wave", True), ("wave_evaluation", False)])
@pytest.mark.parametrize("name", GOLDEN)
def test_waves_are_those_of_the_open_code(name, framing, training):
    model, x = golden_model(name)
    golden = GOLDEN[name][framing]
    with torch.no_grad():
        y = model.train(training)(x)[..., 0]
    assert list(y.shape) == golden["shape"]
    found = y[:, [int(index) for index in golden["samples"]]].t()
    expected = torch.tensor(list(golden["samples"].values()), dtype=torch.float64)
    assert (found - expected).abs().max() <= 1e-9 * golden["maxabs"]


def joint_norm(x, weight, bias):
    """Over all axes but the first of `x` [B, C, ...]."""
    return F.group_norm(x, 1, weight, bias, 1e-5)


def lstm(x, state, name):
    """Over the middle axis of `x` [items, steps, N], step by step: [items, steps, 2 N] for each direction."""
    directions = []
    for suffix in ("", "_reverse") if f"{name}.weight_ih_l0_reverse" in state else ("",):
        w_x, w_h, b_x, b_h = (state[f"{name}.{k}_l0{suffix}"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = c = x.new_zeros(len(x), w_h.shape[1])
        outputs = []
        for step in x.flip(1).unbind(1) if suffix else x.unbind(1):
            i, f, g, o = (step @ w_x.t() + b_x + h @ w_h.t() + b_h).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        directions.append(torch.stack(outputs[::-1] if suffix else outputs, 1))
    return torch.cat(directions, 2)


def slow_bsrnn(state, spectrum):
    """The network as the formulas say it, from complex [B, L, F] to complex [B, L, F], with the open code's keys."""

    def norm(x, name):
        return joint_norm(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x, name):
        return x @ state[f"{name}.weight"].t() + state[f"{name}.bias"]

    bands = spectrum.split(FIXED, 2)
    features = [torch.view_as_real(band).flatten(2) for band in bands]  # bin 0 real, bin 0 imaginary, bin 1 real ...
    z = [norm(x.transpose(1, 2), f"band_split.norm{b}").transpose(1, 2) for b, x in enumerate(features, 1)]
    z = torch.stack([linear(x, f"band_split.fc{b}") for b, x in enumerate(z, 1)], 3).transpose(1, 2)  # [B, N, L, K]
    for axis in "tk":
        for layer in range(1, sum(key.startswith("norm_t") for key in state) // 2 + 1):
            y = norm(z, f"norm_{axis}{layer}")
            y = y.permute(0, 3, 2, 1) if axis == "t" else y.permute(0, 2, 3, 1)  # [B, K, L, N] or [B, L, K, N]
            out = linear(lstm(y.flatten(0, 1), state, f"lstm_{axis}{layer}"), f"fc_{axis}{layer}").view_as(y)
            z = z + (out.permute(0, 3, 2, 1) if axis == "t" else out.permute(0, 3, 1, 2))
    masks = []
    for b, width in enumerate(FIXED, 1):
        y = norm(z[..., b - 1], f"mask_decoder.norm{b}").transpose(1, 2)  # [B, L, N]
        first, second = linear(linear(y, f"mask_decoder.fc1{b}").tanh(), f"mask_decoder.fc2{b}").chunk(2, 2)
        masks.append((first * second.sigmoid()).unflatten(2, (width, 3, 2)))
    m = torch.view_as_complex(torch.cat(masks, 2).contiguous())  # [B, L, F, taps]
    x = F.pad(spectrum, (0, 0, 1, 1))
    frames = spectrum.shape[1]
    return sum(m[..., tap] * x[:, tap : tap + frames] for tap in range(3))


def random_weights(model):
    """Weights of a size at which every part matters, in fp64 under the open code's keys."""
    weights = RULE["fill"](to_reference(model))
    return {name: value.double() for name, value in weights.items()}


def test_the_slow_form_is_the_open_code():
    golden = GOLDEN["batch"]
    state = {key: value.double() for key, value in RULE["fill"](dict(golden["state_dict"])).items()}
    x = RULE["inp"](golden["sample_rate"], golden["samples"], golden["scales"]).double()
    parts = BSRNN(n_channels=4, n_layers=1).stft(x)
    y = slow_bsrnn(state, torch.complex(parts[:, 0], parts[:, 1]))
    for item, bin_, frame, real, imaginary in golden["spectrum"]["item_bin_frame_real_imag"]:
        assert abs(complex(y[item, frame, bin_]) - complex(real, imaginary)) <= 1e-9 * golden["spectrum"]["maxabs"]


@pytest.mark.parametrize(
    "channels, layers, expansion, batch, samples",
    [(6, 3, 4, 3, 300), (10, 1, 2, 1, 515), (4, 2, [3] * 20 + [1] * 11, 2, 100)],
)
def test_other_sizes_equal_the_slow_form(channels, layers, expansion, batch, samples):
    torch.manual_seed(channels)
    state = random_weights(BSRNN(n_channels=channels, n_layers=layers, expansion=expansion))
    model = from_reference(state, level="none").double()
    x = torch.randn(batch, samples, dtype=torch.float64) * torch.logspace(-2, 0, batch)[:, None]
    parts = model.stft(x)
    y, expected = spectrum_of(model, x), slow_bsrnn(state, torch.complex(parts[:, 0], parts[:, 1]))
    assert (y - expected).abs().max() <= 1e-9 * expected.abs().max()


def test_weights_go_both_ways_bit_by_bit():
    for golden in (GOLDEN["small"], GOLDEN["batch"]):
        state = RULE["fill"](dict(golden["state_dict"]))
        model = from_reference(state)
        back = to_reference(model)
        assert back.keys() == state.keys() and all(torch.equal(back[key], state[key]) for key in state)
        assert sum(p.numel() for p in model.parameters()) == golden["parameters"]
        assert len(model.layers) == 2 * golden["args"]["num_layer"]
    assert model.level == "item" and model.norms == "joint"


def test_the_preset_is_the_published_network():
    model, golden = get_model("bsrnn"), GOLDEN["published"]
    assert {key: list(value.shape) for key, value in to_reference(model).items()} == dict(golden["state_dict"])
    assert (model.norms, model.stft.n_fft, model.stft.hop_length, model.sample_rate) == ("joint", 512, 128, 16000)
    assert len(model.eval().stft(torch.rand(1, 1280))[0, 0]) == 13  # a hop more at both ends, where it is scored
    assert len(model.train().stft(torch.rand(1, 1280))[0, 0]) == 11


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.clear(), "expected the weights of one BSRNN, but 'norm_t1.weight' is missing"),
        (lambda s: s.pop("fc_k1.bias"), "weights of a BSRNN, but fc_k1.bias is missing"),
        (lambda s: s.update(fc_k3=torch.ones(2)), "fc_k3 is unknown"),
        (lambda s: s.update({"mask_decoder.fc131.weight": torch.tensor(1.0)}), "weights have other dimensions"),
        (lambda s: s.update({"band_split.norm31.weight": torch.ones(32)}), r"has the shape \[32\] instead of \[34\]"),
    ],
)
def test_other_weights_are_refused(change, words):
    state = to_reference(BSRNN(n_channels=4, n_layers=1))
    change(state)
    with pytest.raises(UserError, match=words):
        from_reference(state)


@pytest.mark.parametrize(
    "options, words",
    [({"norms": "local"}, "norms: local"), ({"num_sources": 2}, "num_sources: 2"), ({"split": "mel"}, "widths")],
)
def test_what_the_open_code_cannot_be_is_not_given_its_keys(options, words):
    with pytest.raises(UserError, match=f"no such network: {words}"):
        to_reference(BSRNN(n_channels=4, n_layers=1, **options))
