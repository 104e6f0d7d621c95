"""The key `mixer` in every family: the contract holds, the frame stays, the default is what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.models import get_model, to_upstream
from lobes.nnet.bimamba import BiMambaStack
from lobes.nnet.mixers import MIXERS
from lobes.onnx.offline import refuse_chunks
from lobes.onnx.steps import use_steps

GOLDEN = json.loads(Path(__file__).with_name("mixers_default.json").read_text())
GRID = {"n_layers": 1, "emb_dim": 4, "emb_ks": 4, "emb_hs": 4, "n_heads": 2, "approx_qk_dim": 129}
DUAL = {"N": 16, "K": 20, "n_layers": 1}
BANDS = {"n_channels": 8, "n_layers": 1}
SMALL = {
    "spmamba_8k": {**GRID, "expand": 1, "d_state": 4},
    "tf_gridnet": {**GRID, "lstm_hidden_units": 8},
    "dpmamba_s": {**DUAL, "d_state": 4},
    "dprnn": {**DUAL, "n_units": 8},
    "sepformer": {**DUAL, "n_transformer_layers": 1, "n_heads": 2, "d_ffn": 16},
    "mamba_tasnet_s": {"N": 16, "d_model": 16, "n_layers": 2, "d_state": 4},
    "bsrnn_8k": BANDS,
    "bs_bimamba_abl2": {**BANDS, "d_state": 4},
    "mbs_net": {**BANDS, "d_state": 4},
}
OWN = {"tf_gridnet": "lstm", "dprnn": "lstm", "bsrnn_8k": "lstm", "sepformer": "attention"}
CAUSAL = {"spmamba_causal": {**GRID, "n_heads": 0, "expand": 1}, "bsrnn_causal": BANDS, "mbs_net_causal": BANDS}
OTHERS = [(preset, mixer) for preset in SMALL for mixer in MIXERS if mixer != OWN.get(preset, "mamba")]


def model_of(preset, **options):
    torch.manual_seed(0)
    return get_model(preset, **SMALL.get(preset, CAUSAL.get(preset, {})), **options)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def size(model):
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("preset", GOLDEN)
def test_the_default_is_the_network_of_before(preset):
    """Sums under a seed from before there were other mixers, written by the code of then."""
    torch.manual_seed(0)
    model = get_model(preset, **GOLDEN[preset]["sizes"])
    weights = sum(value.detach().double().abs().sum().item() for value in model.parameters())
    y = model(noise(2, 1200), torch.tensor([1.0, 0.6])).detach().double()
    assert weights == pytest.approx(GOLDEN[preset]["weights"], rel=1e-7)
    assert y.abs().sum().item() == pytest.approx(GOLDEN[preset]["estimates"], rel=1e-4)


@pytest.mark.parametrize("preset, mixer", OTHERS)
def test_the_contract_with_another_mixer(preset, mixer):
    model = model_of(preset, mixer=mixer, mixer_heads=2).double()
    mix = noise(2, 700).double()
    y = model(mix, torch.tensor([1.0, 0.6]))
    assert y.shape[:2] == (2, 700) and not y[1, 420:].any()
    assert torch.allclose(y[1:, :420], model(mix[1:, :420]), atol=1e-9)
    y.square().sum().backward()
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)
    with torch.no_grad():
        assert not model(torch.zeros(1, 300).double()).any()


@pytest.mark.parametrize("preset", SMALL)
def test_its_own_mixer_by_name_is_the_default(preset):
    own = OWN.get(preset, "mamba")
    side = "forward" if preset == "bsrnn_8k" else "both"
    one, two = (model_of(preset, **more).state_dict() for more in ({}, {"mixer": own, "direction": side}))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("preset", SMALL)
@pytest.mark.parametrize("mixer", ["mamba", "attention"])
def test_one_direction_has_less_and_a_width_is_a_width(preset, mixer):
    sizes = {"mixer": mixer, "mixer_heads": 2}
    both, ahead, wide = (
        model_of(preset, **sizes, mixer_width=16, direction="both"),
        model_of(preset, **sizes, mixer_width=16, direction="forward"),
        model_of(preset, **sizes, mixer_width=32, direction="both"),
    )
    assert size(wide) > size(both)
    assert size(ahead) < size(both) or mixer == "attention"
    assert ahead(noise(1, 500)).isfinite().all()


@pytest.mark.parametrize("preset", ["spmamba_8k", "bs_bimamba_abl2", "bsrnn_8k", "mbs_net"])
def test_both_directions_end_where_the_item_does(preset):
    model = model_of(preset, mixer="lstm", direction="both").double()
    mix = noise(1, 600).double()
    padded = torch.cat((mix, torch.zeros(1, 200).double()), 1)
    assert torch.allclose(model(padded, torch.tensor([0.75]))[:, :600], model(mix), atol=1e-9)


@pytest.mark.parametrize("preset", CAUSAL)
@pytest.mark.parametrize("mixer", ["mamba2", "lstm", "xlstm", "conv"])
def test_a_causal_network_streams_with_another_mixer(preset, mixer):
    model = model_of(preset, mixer=mixer).eval()
    mix, stream = noise(1, 4000), model.stream()
    y = torch.cat([*(stream.feed(chunk) for chunk in mix.split(900, 1)), stream.flush()], 1)
    assert torch.allclose(y, model(mix), atol=1e-4)


@pytest.mark.parametrize("preset", CAUSAL)
def test_a_causal_network_refuses_what_cannot_stream(preset):
    with pytest.raises(UserError, match="attention keeps a state that grows.*one of mamba, mamba2, lstm, xlstm, conv"):
        model_of(preset, mixer="attention")
    with pytest.raises(UserError, match="runs forward only"):
        model_of(preset, direction="both")


@pytest.mark.parametrize("preset", SMALL)
def test_unknown_names_are_refused_with_the_nearest(preset):
    with pytest.raises(UserError, match="mixer: expected one of.*'lstn'. Did you mean 'lstm'"):
        model_of(preset, mixer="lstn")
    with pytest.raises(UserError, match="direction: expected one of both, forward, got 'forwards'. Did you mean"):
        model_of(preset, direction="forwards")


def test_the_published_start_is_mambas():
    with pytest.raises(UserError, match="start: published is a start of Mamba in both directions"):
        model_of("mamba_tasnet_s", start="published", mixer="lstm")


def test_a_stack_of_other_mixers_starts_with_small_branches():
    torch.manual_seed(0)
    one, four = (BiMambaStack(32, blocks, mixer="lstm").layers[0].mixers[0].out_proj.weight for blocks in (1, 4))
    assert four.std().item() == pytest.approx(one.std().item() / 2, rel=0.1)


@pytest.mark.parametrize("preset", ["dprnn", "sepformer", "dpmamba_s"])
def test_no_two_layers_of_a_dual_path_start_alike(preset):
    model = model_of(preset, mixer="mamba2" if preset != "dprnn" else "xlstm")
    large = [value for value in model.masknet.dual_mdl.parameters() if value.ndim > 1 and bool(value.std() > 0)]
    assert len(large) > 4
    for number, one in enumerate(large):
        assert not any(one.shape == two.shape and torch.equal(one, two) for two in large[number + 1 :])


def test_sepformers_frame_stays_around_another_mixer():
    own, other = model_of("sepformer"), model_of("sepformer", mixer="mamba")
    kept = {key: value.shape for key, value in own.state_dict().items() if "self_att" not in key}
    assert kept == {key: value.shape for key, value in other.state_dict().items() if "self_att" not in key}
    assert not any(isinstance(part, nn.MultiheadAttention) for part in other.modules())


@pytest.mark.parametrize("preset", ["spmamba_8k", "tf_gridnet", "mamba_tasnet_s", "dpmamba_s", "bsrnn_8k"])
def test_no_published_keys_for_what_was_not_published(preset):
    with pytest.raises(UserError, match="to_upstream: .*(no such network|no published form)"):
        to_upstream(model_of(preset, mixer="mamba2", num_sources=1))


def test_graphs_refuse_what_runs_in_chunks():
    with pytest.raises(UserError, match="cannot be written as ONNX with the mixer MLSTM"):
        refuse_chunks(model_of("mbs_net", mixer="xlstm"))
    with pytest.raises(UserError, match="a stream in ONNX needs mixer: mamba"):
        use_steps(model_of("spmamba_causal", mixer="lstm"))
