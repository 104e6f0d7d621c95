"""A folder laid out as speechbrain/sepformer-wsj02mix, random weights: SpeechBrain's own class, ours and the preset."""

import pytest
import torch

from lobes.inference import Separator
from lobes.models import get_model
from lobes.nnet.level import fit_level
from lobes.runs.fine_tune import start_from

SIZES = {
    "small": {"N": 16, "K": 20, "n_layers": 1, "n_transformer_layers": 1, "n_heads": 2, "d_ffn": 16},
    "published": {"N": 256, "K": 250, "n_layers": 2, "n_transformer_layers": 8, "n_heads": 8, "d_ffn": 1024},
}
BLOCK = """!new:speechbrain.lobes.models.dual_path.SBTransformerBlock
    num_layers: {n_transformer_layers}
    d_model: {N}
    nhead: {n_heads}
    d_ffn: {d_ffn}
    norm_before: true
    use_positional_encoding: true"""
LAYOUT = """
sample_rate: 8000
num_spks: 2
Encoder: !new:speechbrain.lobes.models.dual_path.Encoder {{kernel_size: 16, out_channels: {N}}}
SBtfintra: {block}
SBtfinter: {block}
MaskNet: !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
    num_spks: 2
    in_channels: {N}
    out_channels: {N}
    num_layers: {n_layers}
    K: {K}
    intra_model: !ref <SBtfintra>
    inter_model: !ref <SBtfinter>
    norm: ln
    linear_layer_after_inter_intra: false
    skip_around_intra: true
Decoder: !new:speechbrain.lobes.models.dual_path.Decoder
    {{in_channels: {N}, out_channels: 1, kernel_size: 16, stride: 8, bias: false}}
modules: {{encoder: !ref <Encoder>, masknet: !ref <MaskNet>, decoder: !ref <Decoder>}}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables: {{encoder: !ref <Encoder>, masknet: !ref <MaskNet>, decoder: !ref <Decoder>}}
"""


@pytest.fixture(params=["small", pytest.param("published", marks=pytest.mark.slow)])
def folder(request, tmp_path):
    """The folder, and the sizes of its network."""
    torch.manual_seed(0)
    model, folder = get_model("sepformer", **SIZES[request.param]), tmp_path / "folder"
    folder.mkdir()
    layout = LAYOUT.format(**SIZES[request.param], block=BLOCK.format(**SIZES[request.param]))
    (folder / "hyperparams.yaml").write_text(layout)
    for part in ("encoder", "masknet", "decoder"):
        torch.save(getattr(model, part).state_dict(), folder / f"{part}.ckpt")
    return folder, SIZES[request.param]


@pytest.mark.parametrize("samples", [160, 2000, 9008])
def test_three_ways_to_one_result(folder, tmp_path, samples):
    from speechbrain.inference.separation import SepformerSeparation

    path, sizes = folder
    stock = SepformerSeparation.from_hparams(source=str(path), savedir=str(tmp_path / "saved"))
    mix = torch.randn(1, samples, generator=torch.Generator().manual_seed(1)) / 10
    expected = stock.separate_batch(mix)
    assert torch.equal(Separator.from_hparams(path, level="model").separate_batch(mix), expected)
    assert torch.equal(Separator.from_hparams(path).separate_batch(mix), fit_level(expected, mix))
    preset = get_model("sepformer", **sizes).eval()
    start_from(preset, path)
    with torch.no_grad():  # it brings the mixture to unit level first, so the last bits differ
        assert (preset(mix) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("samples", [1, 15])
def test_what_is_shorter_than_a_filter_is_separated_too(folder, samples):
    separator = Separator.from_hparams(folder[0])
    mix = torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    assert separator.separate_batch(mix).isfinite().all() and separator.separate_batch(mix).shape == (2, samples, 2)
    assert separator.separate_batch(mix, torch.tensor([1.0, 0.5])).shape == (2, samples, 2)
