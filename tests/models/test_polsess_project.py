"""Checkpoints of the PolSESS project: the same network gives the same output, other networks are refused by name."""

import pytest
import torch
from speechbrain.lobes.models.conv_tasnet import MaskNet
from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBRNNBlock, SBTransformerBlock
from torch import nn

from lobes.errors import UserError
from lobes.models import from_checkpoint, get_model, to_upstream


class Old(nn.Module):
    """The project's wrappers: SpeechBrain's parts under its own names, the mixture at its own level."""

    def __init__(self, name, masknet, filters, kernel=16):
        super().__init__()
        self.encoder = Encoder(kernel_size=kernel, out_channels=filters, in_channels=1)
        self.add_module(name, masknet)
        self.decoder = Decoder(filters, 1, kernel, stride=kernel // 2, bias=False)
        self.name = name

    def forward(self, mix):
        encoded = self.encoder(mix)
        masks = getattr(self, self.name)(encoded)
        return torch.stack([self.decoder(mask * encoded) for mask in masks], -1)


def conv_tasnet():
    sizes = {"N": 16, "B": 8, "H": 12, "P": 3, "X": 2, "R": 1, "C": 2}
    return Old("mask_net", MaskNet(**sizes, norm_type="gLN", causal=False, mask_nonlinear="relu"), 16), sizes


def dprnn():
    block = [SBRNNBlock(16, 6, 1, bidirectional=True) for _ in range(2)]
    network = Dual_Path_Model(16, 16, *block, num_layers=2, norm="ln", K=20, num_spks=1, skip_around_intra=True)
    return Old("separator", network, 16), {"N": 16, "num_layers": 2, "chunk_size": 20, "hidden_size": 6, "C": 1}


def sepformer(positions=False):
    options = {"num_layers": 1, "d_model": 16, "nhead": 2, "d_ffn": 24, "dropout": 0}
    blocks = [SBTransformerBlock(**options, use_positional_encoding=positions, norm_before=True) for _ in range(2)]
    network = Dual_Path_Model(
        16, 16, *blocks, num_layers=1, norm="ln", K=20, num_spks=2, linear_layer_after_inter_intra=False
    )
    config = {"N": 16, "num_blocks": 1, "num_layers": 1, "d_model": 16, "nhead": 2, "d_ffn": 24, "chunk_size": 20}
    return Old("masknet", network, 16), config | ({"use_positional_encoding": True} if positions else {})


def save(path, kind, model, options, **more):
    weights = to_upstream(model) if kind == "spmamba" else model.state_dict()
    config = {"model": {"model_type": kind, kind: options}, "training": {"lr": 0.001}}
    torch.save({"model_state_dict": weights, "config": config, "epoch": 3, **more}, path)
    return path


@pytest.mark.parametrize(
    "kind, make",
    [
        ("convtasnet", conv_tasnet),
        ("dprnn", dprnn),
        ("sepformer", sepformer),
        ("sepformer", lambda: sepformer(positions=True)),
    ],
)
def test_the_same_network_gives_the_same_output(kind, make, tmp_path):
    torch.manual_seed(0)
    old, options = make()
    loaded = from_checkpoint(save(tmp_path / "best.pt", kind, old.eval(), options))
    mix = torch.randn(2, 808)  # whole frames, so that the old code cuts nothing
    with torch.no_grad():
        for level, tolerance in ((1.0, 1e-5), (0.1, 1e-3)):  # an epsilon in the first norm knows the level
            expected, found = old(level * mix), loaded(level * mix)
            assert torch.allclose(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    assert loaded.sample_rate == 8000 and not loaded.training


def test_spmamba(tmp_path):
    torch.manual_seed(0)
    old = get_model("spmamba_tiny", n_layers=1, emb_hs=1)
    path = save(tmp_path / "best.pt", "spmamba", old, {"stride": 128, "emb_hs": 1, "lstm_hidden_units": 256})
    assert old.stft.hop_length == 128
    with torch.no_grad():
        mix = torch.randn(1, 1000)
        assert torch.equal(from_checkpoint(path)(mix), old.eval()(mix))


@pytest.mark.parametrize(
    "kind, message",
    [
        ("mossformer2", "a mossformer2, which cannot be loaded: no such network is here; .*clearvoice"),
        ("dpmamba", "blocks have another structure than dpmamba_s"),
        ("resepformer", "depends on the level and on the other items of a batch"),
        ("tiger", "no such network is here. Can be: convtasnet, dprnn, sepformer, spmamba"),
    ],
)
def test_other_networks_are_named(kind, message, tmp_path):
    with pytest.raises(UserError, match=message):
        from_checkpoint(save(tmp_path / "best.pt", kind, nn.Linear(1, 1), {}))


def test_options_that_make_another_network(tmp_path):
    old, options = conv_tasnet()
    with pytest.raises(UserError, match="causal is True; the network here has False there"):
        from_checkpoint(save(tmp_path / "best.pt", "convtasnet", old, options | {"causal": True}))
    with pytest.raises(UserError, match="do not fit the convtasnet of its configuration"):
        from_checkpoint(save(tmp_path / "best.pt", "convtasnet", old, options | {"X": 3}))


def test_no_such_checkpoint(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="expected a dict with model_state_dict and config, found state_dict"):
        from_checkpoint(tmp_path / "other.pt")
