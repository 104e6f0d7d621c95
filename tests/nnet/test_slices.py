"""Inference in slices gives what the whole gives, bit for bit; with gradients nothing is cut."""

from __future__ import annotations

import pytest
import torch

from lobes.evaluation.kinds import macs_by_kind
from lobes.inference.capacity import bytes_of
from lobes.models import get_model
from lobes.nnet import band_attention, band_mamba, slices
from lobes.nnet.attention import CrossFrameAttention


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Cut everything, and count the slices."""
    counted: list[int] = []
    narrow = torch.Tensor.narrow
    monkeypatch.setattr(slices, "WHOLE", 100)
    monkeypatch.setattr(slices.in_slices, "__defaults__", (2**12, 1))
    monkeypatch.setattr(band_mamba, "SLICE", 2**12)
    monkeypatch.setattr(band_attention, "SLICE", 2**12)
    monkeypatch.setattr(torch.Tensor, "narrow", lambda x, *where: counted.append(1) or narrow(x, *where))
    return counted


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        *((preset, {}) for preset in ("spmamba_tiny", "tf_gridnet_mini", "mbs_net", "bs_bimamba_abl1_small")),
        ("bs_bimamba_abl1_attention_small", {}),
        *(("bsrnn_8k_tiny", {"mixer": mixer, "direction": "both"}) for mixer in ("mamba", "xlstm", "attention")),
    ],
)
def test_slices_give_the_same_bits(preset: str, options: dict[str, str], small_slices: list[int]):
    torch.manual_seed(0)
    model = get_model(preset, **options).eval()
    mix, lengths = torch.randn(2, model.sample_rate // 4), torch.tensor([1.0, 0.6])
    whole = model(mix, lengths).detach()
    assert not small_slices, "gradients are wanted"
    with torch.no_grad():
        cut = model(mix, lengths)
    assert len(small_slices) > 10
    assert torch.equal(cut, whole)


def test_costs_are_counted_of_one_piece(small_slices: list[int]):
    """A slice is one more call of each operation: SPMamba at 16 kHz took six times as long to be counted."""
    model = get_model("spmamba_tiny")
    macs_by_kind(model)
    assert not small_slices
    with torch.no_grad():
        model(torch.zeros(1, model.sample_rate // 4))
    assert small_slices, "and afterwards slices are cut again"


def test_little_is_not_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.Tensor, "narrow", lambda *_: pytest.fail("cut"))
    with torch.no_grad():
        assert torch.equal(slices.in_slices(torch.sin, torch.ones(2**19), 0), torch.ones(2**19).sin())


def test_a_layer_may_give_another_shape(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slices, "WHOLE", 0)
    x = torch.randn(2, 5, 3, 4)
    with torch.no_grad():
        y = slices.in_slices(lambda part: part[..., :1].repeat(1, 1, 2, 1), x, 1, size=50)
    assert torch.equal(y, x[..., :1].repeat(1, 1, 2, 1))


def test_attention_to_all_frames_never_holds_all_weights():
    attention = CrossFrameAttention(4, 65, n_heads=2, approx_qk_dim=260)
    frames, features = 4000, 65 * 4
    needed = bytes_of(lambda mix: attention(mix.view(1, frames, 65, 4)), frames * features)
    assert needed < 4 * frames * frames, "the weights of one head alone take as much"


def test_windows_count_as_what_they_become():
    seen: list[int] = []

    def layer(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[0])
        return x

    with torch.no_grad():
        slices.in_slices(layer, torch.zeros(2**18), 0, expansion=8)
        slices.in_slices(layer, torch.zeros(2**18), 0)
    assert seen == [2**15] * 8 + [2**18]


@pytest.mark.parametrize(("preset", "megabytes"), [("spmamba_8k", 80), ("spmamba_small", 30)])
def test_a_wide_network_takes_little_memory_for_a_second(preset: str, megabytes: int):
    model = get_model(preset, n_layers=1).eval()
    assert bytes_of(model, model.sample_rate) < megabytes * 2**20


def test_the_mixer_of_a_band_network_takes_little_memory():
    model = get_model("bsrnn_local_norms", n_layers=1, mixer="xlstm").eval()
    assert bytes_of(model, 10 * model.sample_rate) < 150 * 2**20
