"""BSRNN's own parts: both kinds of norms, the start of the weights, and weights of earlier versions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.models import get_model
from lobes.models.bsrnn import BSRNN, BandLSTM, TimeLSTM
from lobes.models.convert import current_keys
from lobes.runs.fine_tune import start_from
from lobes.runs.weights import load_strictly

SMALL = {"n_channels": 8, "n_layers": 1}
FRAMES = torch.tensor([6, 4])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ norms
@pytest.mark.parametrize("kind", [TimeLSTM, BandLSTM])
def test_a_joint_norm_is_over_bands_and_channels_and_valid_frames(kind):
    """Item by item: the mean and the biased variance of all valid values, then scale and shift of each channel."""
    layer, x = kind(8), 3 + 2 * random(2, 6, 5, 8)  # [B, L, K, D]
    norm = layer.norm["joint"]
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    x[1, 4:] = torch.nan
    y = layer.normalised(x, FRAMES)
    for item, frames in enumerate(FRAMES.tolist()):
        valid = x[item, :frames]
        expected = (valid - valid.mean()) / (valid.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias
        assert torch.allclose(y[item, :frames], expected, atol=1e-5)
    assert torch.allclose(layer(x, FRAMES)[1, :4], layer(x[1:, :4])[0], atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_with_local_norms_bands_do_not_see_each_other_over_time(causal):
    torch.manual_seed(0)
    layer, x = TimeLSTM(8, "local", causal), torch.randn(2, 6, 3, 8)  # [B, L, K, D]
    other = x.clone()
    other[:, :, 1] = 5 * torch.randn(2, 6, 8) + 1
    assert torch.allclose(layer(other)[:, :, [0, 2]], layer(x)[:, :, [0, 2]], atol=1e-6)
    assert not torch.allclose(layer(other)[:, :, 1] - other[:, :, 1], layer(x)[:, :, 1] - x[:, :, 1], atol=1e-2)


def test_with_local_norms_frames_do_not_see_each_other_across_bands():
    torch.manual_seed(0)
    layer, x = BandLSTM(8, "local"), torch.randn(2, 6, 3, 8)
    other = x.clone()
    other[:, 4] = 5 * torch.randn(2, 3, 8) + 1
    assert torch.allclose(layer(other)[:, :4], layer(x)[:, :4], atol=1e-6)
    assert torch.allclose(layer(other)[:, 5:], layer(x)[:, 5:], atol=1e-6)


@pytest.mark.parametrize("norms, eps", [("joint", 1e-5), ("local", 1e-20)])
def test_the_epsilon_of_the_band_split_goes_with_the_norms(norms, eps):
    model = BSRNN(**SMALL, norms=norms)
    assert {norm.eps for norm in model.split.norms} == {eps}
    assert {norm.eps for norm in model.decoder.norms} == {1e-5}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"causal": True}, "set norms: local"),
        ({"causal": True, "norms": "local", "reflected_hop": True}, "reflected_hop: false"),
        ({"norms": "per_band"}, "norms: expected joint or local, got 'per_band'"),
        ({"start": "random"}, "start: expected published or passthrough, got 'random'"),
        ({"level": "unit"}, "level: expected item or none, got 'unit'"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        BSRNN(**SMALL, **options)


def test_presets_differ_in_their_norms():
    names = ("bsrnn", "bsrnn_8k", "bsrnn_8k_tiny", "bsrnn_local_norms")
    found = [get_model(name, n_layers=1, n_channels=4).norms for name in names]
    assert found == ["joint", "joint", "joint", "local"]
    assert get_model("bsrnn_local_norms", n_layers=1, n_channels=4, causal=True).lookahead == 511


# ------------------------------------------------------------------ start
def test_the_published_start():
    """Xavier for all that comes in, orthogonal for the recurrence, no biases; the decoder is no exception."""
    torch.manual_seed(0)
    model = get_model("bsrnn", n_layers=1)
    assert all(not value.any() for name, value in model.named_parameters() if "bias" in name)
    for layer in model.layers:
        for name, value in layer.lstm.named_parameters():
            if name.startswith("weight_ih"):
                bound = math.sqrt(6 / (9 * 64))  # 0.1021, of the whole stacked matrix
                assert value.shape == (8 * 64, 64) and 0.99 * bound < value.abs().max() <= bound
            elif name.startswith("weight_hh"):
                assert torch.allclose(value.t() @ value, torch.eye(128), atol=1e-5)
    linear = [layer.linear.weight.t()[None] for layer in model.layers]
    for values in [*linear, *model.split.linear.weights, *model.decoder.hidden.weights, *model.decoder.output.weights]:
        for value in values:  # [in, out] of a band
            bound = math.sqrt(6 / sum(value.shape))
            assert 0.95 * bound < value.abs().max() <= bound


def test_the_other_start_lets_the_mixture_through():
    torch.manual_seed(0)
    mix = torch.randn(1, 4000)
    error = {start: (BSRNN(**SMALL, start=start)(mix)[..., 0] - mix).norm() for start in ("published", "passthrough")}
    assert error["passthrough"] < 0.3 * mix.norm() and error["published"] > 0.7 * mix.norm()


# ------------------------------------------------------------------ weights of earlier versions, which had local norms
@pytest.fixture
def earlier():
    """A model as it was, and its weights under the keys of that time."""
    torch.manual_seed(0)
    model = BSRNN(**SMALL, norms="local", start="passthrough").eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model, {key.replace("norm.local.", ""): value for key, value in model.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("options", [{}, {"as_published": False}, {"norms": "local"}])
def test_weights_of_an_earlier_version_keep_their_output(earlier, prefix, options, tmp_path):
    """The folders of that time do not name the norms; the present default is another network of the same shapes."""
    model, state = earlier
    assert {"layers.0.weight", "layers.1.bias"} <= state.keys()
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "a.ckpt")
    network = BSRNN(**SMALL, **options).eval()
    load_strictly(nn.ModuleDict({"model": network}) if prefix else network, tmp_path / "a.ckpt")
    x = random(2, 2000)
    assert torch.equal(network(x), model(x)) and network.norms == "local"


def test_weights_of_one_kind_do_not_fit_the_other(earlier, tmp_path):
    for state in (earlier[0].state_dict(), BSRNN(**SMALL).state_dict()):
        torch.save(state, tmp_path / "a.ckpt")
        network = BSRNN(**SMALL, norms="joint" if "layers.0.norm.local.weight" in state else "local")
        with pytest.raises(UserError, match="4 missing .layers.0.norm.*4 unexpected .layers.0.norm"):
            load_strictly(network, tmp_path / "a.ckpt")
    with pytest.raises(RuntimeError, match="norm.joint"):
        BSRNN(**SMALL).load_state_dict(earlier[1])


def test_fine_tuning_says_that_the_norms_are_others(earlier, tmp_path):
    torch.save({f"model.{key}": value for key, value in earlier[1].items()}, tmp_path / "masknet.ckpt")
    network = BSRNN(**SMALL)
    transfer = start_from(network, tmp_path)
    norms = [f"layers.{layer}.norm.{{}}.{kind}" for layer in (0, 1) for kind in ("bias", "weight")]
    assert transfer.new == [name.format("joint") for name in norms]
    assert transfer.unused == [name.format("local") for name in norms]
    assert network.norms == "joint"
    assert not start_from(BSRNN(**SMALL, norms="local"), tmp_path).new


def test_keys_of_other_networks_stay_as_they_are(earlier):
    _, state = earlier
    assert current_keys(nn.ModuleList([nn.Linear(2, 2)]), state).keys() == state.keys()
    outside = {"other.layers.0.weight": torch.ones(1)}
    assert current_keys(nn.ModuleDict({"model": BSRNN(**SMALL)}), outside).keys() == outside.keys()
