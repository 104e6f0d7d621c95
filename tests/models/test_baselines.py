"""The baselines: each keeps the model contract, whatever its blocks do with a batch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from speechbrain.lobes.models.dual_path import Dual_Path_Model, SBTransformerBlock
from torch import nn

from lobes.errors import UserError
from lobes.models import get_model
from lobes.models.base.reinitialise import reinitialise_copies
from lobes.models.masking import longest_input
from lobes.nnet.bilstm import BiLSTM
from lobes.nnet.bimamba import SharedBiMamba

SMALL = {
    "convtasnet_causal": {"N": 16, "B": 8, "H": 8, "X": 3, "R": 1},
    "convtasnet_cumulative": {"N": 16, "B": 8, "H": 8, "X": 3, "R": 1},
    "spmamba_causal": {"n_layers": 1, "emb_dim": 4, "n_heads": 2, "approx_qk_dim": 129, "attention_window": 3},
    "spmamba_local": {"n_layers": 1, "emb_dim": 4, "n_heads": 2, "approx_qk_dim": 129, "attention_window": 3},
    "dprnn": {"N": 16, "K": 20, "n_layers": 2, "n_units": 8},
    "dptnet": {"N": 16, "K": 20, "n_layers": 2},
    "sepformer": {"N": 16, "K": 20, "n_layers": 2, "n_transformer_layers": 1, "n_heads": 2, "d_ffn": 16},
    "resepformer": {"N": 16, "K": 20, "n_transformer_layers": 1, "n_heads": 2, "d_ffn": 16},
    "skim": {"N": 16, "K": 20, "n_layers": 2, "unit": 8},
    "dpmamba_s": {"N": 16, "K": 20, "n_layers": 2, "d_state": 4},
    "mamba_tasnet_s": {"N": 16, "d_model": 16, "n_layers": 2, "d_state": 4},
    "tf_gridnet": {"n_layers": 1, "emb_dim": 8, "lstm_hidden_units": 8, "n_heads": 2, "approx_qk_dim": 129},
    "bsrnn_8k": {"n_channels": 8, "n_layers": 1},
}


@pytest.fixture(scope="module", params=SMALL)
def model(request):
    torch.manual_seed(0)
    model = get_model(request.param, **SMALL[request.param]).eval()
    return model if request.param == "skim" else model.double()  # SpeechBrain's SkiM makes its first state in fp32


def noise(*shape, like=None):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1)).double()
    return x if like is None else x.to(next(like.parameters()).dtype)


def near(a, b):
    return torch.allclose(a, b, atol=1e-9 if a.dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("samples", [1, 16, 17, 1001])
def test_any_length_and_gradients(model, samples):
    mix = noise(2, samples, like=model).requires_grad_()
    estimates = model(mix)
    assert estimates.shape == (2, samples, 2)
    estimates.square().sum().backward()
    assert mix.grad.isfinite().all()


def test_items_do_not_see_each_other(model):
    mix = noise(3, 1500, like=model)
    with torch.no_grad():
        together, alone = model(mix), torch.cat([model(item) for item in mix.split(1)])
    assert near(together, alone)


def test_padding_changes_nothing(model):
    mix, lengths = noise(3, 1500, like=model), torch.tensor([1.0, 0.6, 0.25])
    with torch.no_grad():
        estimates = model(mix, lengths)
        for item, samples in enumerate((1500, 900, 375)):
            alone = model(mix[item : item + 1, :samples])
            assert near(estimates[item, :samples], alone[0])
            assert not estimates[item, samples:].any()


def test_silence_and_level(model):
    mix = noise(1, 900, like=model)
    with torch.no_grad():
        assert not model(torch.zeros_like(mix)).any()
        assert near(1e4 * model(1e-4 * mix), model(mix))


@pytest.mark.parametrize("preset", [name for name in SMALL if name.startswith(("dpmamba", "mamba_tasnet"))])
def test_mambas_initialisation_survives_the_copies(preset):
    model = get_model(preset, **SMALL[preset])
    steps = [F.softplus(value) for name, value in model.named_parameters() if name.endswith("dt_proj.bias")]
    assert len(steps) == (8 if preset == "dpmamba_s" else 4)
    assert all(bool((step >= 0.99e-3).all() and (step <= 1.01e-1).all()) for step in steps)
    assert not torch.equal(steps[0], steps[-1])
    logs = [value for name, value in model.named_parameters() if name.endswith("A_log")]
    assert all(torch.allclose(log, torch.arange(1.0, 5.0).log().expand_as(log)) for log in logs)


@pytest.mark.parametrize("preset", ["dprnn", "dptnet", "sepformer", "resepformer", "skim"])
def test_no_two_layers_start_with_the_same_weights(preset):
    model = get_model(preset, **SMALL[preset])
    large = [value for value in model.parameters() if value.ndim > 1 and bool(value.std() > 0)]  # norms start at one
    for number, one in enumerate(large):
        assert not any(one.shape == two.shape and torch.equal(one, two) for two in large[number + 1 :])


def test_what_holds_no_copies_is_left_alone():
    network = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    before = copy.deepcopy(network.state_dict())
    reinitialise_copies(network)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_positions_end_where_it_says():
    block = SBTransformerBlock(1, 16, 2, d_ffn=8, use_positional_encoding=True)
    block.pos_enc.pe = block.pos_enc.pe[:, :6]
    network = Dual_Path_Model(16, 16, SBTransformerBlock(1, 16, 2, d_ffn=8), block, K=10)
    longest = longest_input(network)
    assert network(torch.rand(1, 16, longest)).shape == (2, 1, 16, longest)
    with pytest.raises(RuntimeError, match="must match the size"):
        network(torch.rand(1, 16, longest + 1))


def test_a_mixture_beyond_the_positions_is_a_clear_error():
    model = get_model("sepformer", **SMALL["sepformer"])
    longest = longest_input(model.masknet)
    with torch.no_grad(), pytest.raises(UserError, match=r"at most 25 s.*got 26 s.*shorter pieces.*SPMamba"):
        model(torch.randn(1, longest * 8 + 8000))
    assert longest_input(get_model("dprnn", **SMALL["dprnn"]).masknet) is None


def test_shared_bimamba_is_the_sum_of_both_directions():
    torch.manual_seed(0)
    block = SharedBiMamba(8, d_state=4).double()
    x = noise(2, 12, 8)
    u, z = F.linear(block.norm(x), block.in_proj.weight).chunk(2, -1)
    flipped = copy.deepcopy(block.backward_core)
    flipped.reverse = False
    y = block.forward_core(u, z) + flipped(u.flip(1), z.flip(1)).flip(1)
    assert torch.allclose(block(x), x + block.out_proj(y), atol=1e-12)
    short = block(x, torch.tensor([12, 7]))
    assert torch.allclose(short[1, :7], block(x[1:, :7])[0], atol=1e-12)


def test_bilstm_with_lengths_equals_items_alone():
    torch.manual_seed(0)
    lstm, x, lengths = BiLSTM(3, 5).double(), noise(3, 9, 3), torch.tensor([9, 4, 1])
    y = lstm(x, lengths)
    for item, steps in enumerate(lengths.tolist()):
        assert torch.allclose(y[item, :steps], lstm(x[item : item + 1, :steps])[0], atol=1e-12)
        assert not y[item, steps:].any()
