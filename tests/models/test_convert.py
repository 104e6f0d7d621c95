"""Published keys and those of earlier versions: both ways, with any prefix, for complete and incomplete state dicts."""

import pytest
import torch

from lobes.errors import UserError
from lobes.models import get_model, to_upstream
from lobes.models.convert import current_keys
from lobes.runs.fine_tune import start_from
from lobes.runs.weights import load_strictly

PRESETS = {
    "spmamba_tiny": {"n_layers": 2, "emb_dim": 6, "n_heads": 3},
    "tf_gridnet": {"n_layers": 2, "emb_dim": 6, "lstm_hidden_units": 5, "n_heads": 3, "approx_qk_dim": 258},
}


@pytest.fixture(params=PRESETS)
def model(request):
    model = get_model(request.param, **PRESETS[request.param])
    for p in model.parameters():  # no two tensors are equal
        p.data += torch.randn_like(p)
    return model


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_there_and_back(model):
    state, published = model.state_dict(), to_upstream(model)
    assert not state.keys() & published.keys() - {"deconv.weight", "deconv.bias"}
    assert same(current_keys(model, published), state)
    assert same(current_keys(model, state), state)


def test_published_names_of_the_sequence_models(model):
    kind = "rnn" if type(model).__name__ == "TFGridNet" else "mamba"
    keys = to_upstream(model).keys()
    assert sum(key.startswith(f"blocks.1.intra_{kind}.") for key in keys) == (8 if kind == "rnn" else 2 * 10)


def test_heads_are_stacked_in_their_order(model):
    published = to_upstream(model)
    for head in range(3):
        rows = model.blocks[1].attention.key.weight.unflatten(0, (3, -1))[head]
        assert torch.equal(published[f"blocks.1.attn_conv_K_{head}.0.weight"][:, :, 0, 0], rows)
        gamma = model.blocks[1].attention.value.gamma[head]
        assert torch.equal(published[f"blocks.1.attn_conv_V_{head}.2.gamma"][0, :, 0], gamma)


def test_files_of_earlier_versions_load(model, tmp_path):
    """Run folders have the keys of a network, exported folders have a prefix before them."""
    published, expected = to_upstream(model), {key: value.clone() for key, value in model.state_dict().items()}
    wrapped = torch.nn.ModuleDict({"model": model})
    for module, prefix in ((model, ""), (wrapped, "model.")):
        torch.save({prefix + key: value for key, value in published.items()}, tmp_path / "masknet.ckpt")
        for p in model.parameters():
            p.data.zero_()
        load_strictly(module, tmp_path / "masknet.ckpt")
        assert same(model.state_dict(), expected)
    for p in model.parameters():
        p.data.zero_()
    assert str(start_from(model, tmp_path)) == f"{len(expected)} tensors taken"  # the exported folder, for fine-tuning
    assert same(model.state_dict(), expected)


def test_what_is_missing_stays_missing(model):
    published = to_upstream(model)
    del published["blocks.0.intra_norm.gamma"]
    assert model.state_dict().keys() - current_keys(model, published).keys() == {"blocks.0.along_bins.norm.gamma"}


def test_other_state_dicts_stay_as_they_are(model):
    state = {"conv.0.weight": torch.ones(1), "blocks.0.intra_norm.gamma": torch.ones(1)}
    assert same(current_keys(model, state), state)
    published = to_upstream(model)
    reference = torch.nn.Module()  # a module that has the published keys itself
    reference.blocks = torch.nn.ModuleList(
        [torch.nn.ModuleDict({"attn_concat_proj": torch.nn.Sequential(torch.nn.Linear(2, 2))})]
    )
    assert same(current_keys(reference, published), published)


def test_models_without_a_published_form():
    with pytest.raises(UserError, match="a MBSNet has no published form. Can be: SPMamba, TF-GridNet, BSRNN"):
        to_upstream(get_model("mbs_net"))
