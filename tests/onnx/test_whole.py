"""The graph of whole signals gives what a separator gives, at any length and batch, through onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lobes.errors import UserError
from lobes.inference.separator import Separator
from lobes.inference.speechbrain_adapter import LEVELS, adapt, at_level
from lobes.nnet.banded import global_norm
from lobes.nnet.level import pseudo_inverse

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from lobes.onnx import run as runner  # noqa: E402
from lobes.onnx.export import facts_of, write  # noqa: E402
from lobes.onnx.offline import AtMixtureLevel, inverse_by_rotations, whole_graph  # noqa: E402
from lobes.onnx.tracing import graph_of  # noqa: E402

FAST = ["spmamba_tiny", "bsrnn", "convtasnet_tiny"]
OTHERS = [
    "spmamba_local", "spmamba_causal", "tf_gridnet_mini", "bsrnn_causal", "mbs_net_causal", "bs_bimamba_abl1_small",
    "convtasnet_cumulative", "mamba_tasnet_tiny", "dpmamba_tiny", "sepformer_tiny", "dprnn_tiny", "skim",
]  # fmt: skip


def written(model, path):
    write(whole_graph(model), path, facts_of(model))
    return runner.OnnxSeparator(path)


@pytest.mark.parametrize("preset", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_graph_is_the_separator_at_any_length_and_batch(small, tmp_path, preset):
    model = small(preset)
    graph = written(model, tmp_path / "model.onnx")
    separator = Separator(adapt(model), {"num_spks": model.num_sources, "sample_rate": model.sample_rate})
    for batch, samples in ((1, 1), (1, 20), (2, 1500), (1, 4001), (3, 333)):  # also less than a window
        mix = torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
        expected = separator.separate_batch(mix).numpy()
        assert graph(mix.numpy()).shape == expected.shape
        assert np.abs(graph(mix.numpy()) - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.array_equal(graph(np.zeros(700)), np.zeros((700, model.num_sources)))
    quiet = graph(1e-3 * mix.numpy())
    assert np.abs(quiet - 1e-3 * expected).max() < 1e-6 * np.abs(expected).max()
    for shape in ((0,), (2, 2, 50), ()):
        with pytest.raises(UserError, match=r"expected mixtures \[T\] or \[B, T\]"):
            graph(np.zeros(shape))


@pytest.mark.parametrize("preset", ["mbs_net", "bsrnn"])
def test_a_tone_is_the_same(small, tmp_path, preset):
    """Bands that hold next to nothing: the level of an item must not be rounded into them."""
    model = small(preset)
    graph = written(model, tmp_path / "model.onnx")
    time = torch.arange(3000)
    for period in (16.0, 36.6):
        tone = 0.3 * torch.sin(2 * torch.pi * (time % period) / period)[None]
        expected = at_level(model(tone), tone, LEVELS[0])[0].numpy()
        assert np.abs(graph(tone[0].numpy()) - expected).max() < 1e-5 * np.abs(expected).max()


def by_means(bands):
    """As SpeechBrain's norm over whole signals does it."""
    centred = bands - bands.mean((1, 2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()


class Normed(torch.nn.Module):
    num_sources, sample_rate, causal = 1, 8000, False

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, mix):
        bands = torch.stack([mix] * 64, 2)[:, :, None]  # [B, L, 1, 64]
        return torch.tanh(self.norm(bands)[:, :, 0, :1])  # not the same at any scale


class Transpose(torch.nn.Module):
    def forward(self, x):
        return x.transpose(1, 3)


NORMS = {
    "bands": lambda bands: global_norm(bands, None, 1e-5),
    "means": by_means,
    "group": lambda bands: torch.nn.functional.group_norm(bands.transpose(1, 3), 1).transpose(1, 3),
    "affine group": torch.nn.Sequential(Transpose(), torch.nn.GroupNorm(1, 64), Transpose()),
}


@pytest.mark.parametrize("norm", NORMS)
def test_the_norms_of_a_long_recording_keep_their_digits(tmp_path, norm):
    """onnxruntime adds numbers over several dimensions up in float32, one after the other."""
    model = Normed(NORMS[norm]).eval().requires_grad_(False)
    graph = written(model, tmp_path / "model.onnx")
    mix = 0.1 + torch.randn(1, 30_000, generator=torch.Generator().manual_seed(0))
    expected = AtMixtureLevel(model.double())(mix.double())[0].numpy()
    assert np.abs(graph(mix[0].numpy()) - expected).max() < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize(
    "average",
    [
        lambda x: x.mean().expand(1, 5),
        lambda x: x.mean(dim=None, keepdim=True),
        lambda x: x.mean(1),
        lambda x: x.mean(-1, keepdim=True),
        lambda x: x.mean((2, -3)),
    ],
)
def test_means_of_all_forms_are_those_of_pytorch(average):
    class Averages(torch.nn.Module):
        def forward(self, x):
            return average(x)

    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    graph, options = graph_of(Averages(), [x], ["x"], ["y"], {}), onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    (got,) = onnxruntime.InferenceSession(graph.SerializeToString(), options).run(None, {"x": x.numpy()})
    assert got.shape == average(x).shape and np.abs(got - average(x).numpy()).max() < 1e-6


@pytest.mark.parametrize("groups, affine", [(1, True), (4, True), (4, False)])
def test_group_norms_are_those_of_pytorch(tmp_path, groups, affine):
    norm = torch.nn.GroupNorm(groups, 64, affine=affine).requires_grad_(False)
    for weight in norm.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    model = Normed(
        lambda bands: norm(bands.transpose(1, 3) * torch.arange(64.0)[:, None, None]).transpose(1, 3)[..., 5:]
    )
    mix = torch.randn(2, 900, generator=torch.Generator().manual_seed(0))
    expected = AtMixtureLevel(model)(mix).numpy()
    assert np.abs(written(model, tmp_path / "model.onnx")(mix.numpy()) - expected).max() < 1e-5


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_rotations_give_the_pseudo_inverse(size):
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(60, size + 1, size, generator=generator, dtype=torch.float64)
    x[::3, :, -1] = x[::3, :, 0]  # the same signal twice
    x[1::3] = 0
    power = x.mT @ x
    assert torch.allclose(inverse_by_rotations(power), pseudo_inverse(power), rtol=1e-9, atol=1e-12)


def test_the_scan_is_a_scan_of_onnx_in_both_directions(small):
    graph = whole_graph(small("mamba_tasnet_tiny"))
    scans = [node for node in graph.graph.node if node.op_type == "Scan"]
    directions = {a.ints[0] for node in scans for a in node.attribute if a.name == "scan_input_directions"}
    assert len(scans) == 2 and directions == {0, 1}
    assert not [node for node in graph.graph.node if node.domain]


def test_a_network_that_mixes_the_items_of_a_batch_is_refused(small):
    model = small("convtasnet_tiny")
    model.one_by_one = True
    with pytest.raises(UserError, match="MaskingSeparator: cannot be written as ONNX: .*one_by_one"):
        whole_graph(model)


class Sorted(torch.nn.Module):
    num_sources, sample_rate, causal = 1, 8000, False

    def forward(self, mix):
        return torch.linalg.svdvals(mix[:, :, None] * mix[:, None])[..., None]


def test_an_operator_without_a_form_in_onnx_is_one_line(capfd):
    with pytest.raises(UserError, match="^Sorted: cannot be written as ONNX: .*linalg_svdvals[^\n]*$"):
        whole_graph(Sorted())
    assert capfd.readouterr() == ("", "")
