"""Loading checkpoints of the reference implementation: every layout, sizes from shapes, clear refusals."""

import pathlib

import pytest
import torch

from lobes.errors import UserError
from lobes.models import to_upstream
from lobes.models.spmamba import SPMamba

OPTIONS = {
    "num_sources": 3,
    "n_layers": 2,
    "emb_dim": 6,
    "emb_ks": 3,
    "n_heads": 3,
    "approx_qk_dim": 70,
    "d_state": 8,
    "d_conv": 3,
    "expand": 2,
}
LAYOUTS = {
    "plain": lambda s: s,
    "lightning": lambda s: {"epoch": 3, "state_dict": {f"audio_model.{k}": v for k, v in s.items()}},
    "serialized": lambda s: {
        "model_name": "SPMamba",
        "state_dict": s,
        "model_args": {"n_sample_rate": 2},
        "infos": {"software_versions": {"torch_version": "2.0.0"}},
    },
    "distributed": lambda s: {f"module.{k}": v for k, v in s.items()},
    "distributed lightning": lambda s: {"state_dict": {f"audio_model.module.{k}": v for k, v in s.items()}},
    "lightning with a loss": lambda s: {
        "state_dict": {**{f"audio_model.{k}": v for k, v in s.items()}, "loss.weight": torch.ones(2)}
    },
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SPMamba(**OPTIONS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_model(model, layout, tmp_path):
    torch.save(LAYOUTS[layout](to_upstream(model)), tmp_path / "best.pth")
    loaded = SPMamba.from_upstream(tmp_path / "best.pth")
    x = torch.randn(1, 600)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    assert (loaded.sample_rate, loaded.num_sources) == (8000, 3)


def test_sizes_of_the_sixteen_kilohertz_model(tmp_path):
    torch.save(to_upstream(SPMamba(n_fft=512, hop_length=128, n_layers=1)), tmp_path / "x.pth")
    loaded = SPMamba.from_upstream(tmp_path / "x.pth")
    assert (loaded.stft.n_fft, loaded.stft.hop_length, loaded.sample_rate) == (512, 128, 16000)


def test_what_leaves_no_trace_can_be_given(tmp_path):
    small = {"n_layers": 1, "emb_dim": 4, "emb_ks": 4, "n_heads": 2, "approx_qk_dim": 33}
    original = SPMamba(n_fft=64, hop_length=32, emb_hs=4, **small)
    torch.save(to_upstream(original), tmp_path / "x.pth")
    with pytest.raises(UserError, match="n_fft=64; give sample_rate"):
        SPMamba.from_upstream(tmp_path / "x.pth")
    loaded = SPMamba.from_upstream(tmp_path / "x.pth", sample_rate=4000, hop_length=32, emb_hs=4)
    x = torch.randn(1, 300)
    assert torch.equal(loaded(x), original(x))


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="found nothing"):
        SPMamba.from_upstream(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="found a folder"):
        SPMamba.from_upstream(tmp_path)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="cannot be read"):
        SPMamba.from_upstream(tmp_path / "text.pth")


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "hacked",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds a getattr, .* save the state_dict alone"):
        SPMamba.from_upstream(tmp_path / "evil.pth")
    assert not (tmp_path / "hacked").exists()


def test_other_models_are_refused(model, tmp_path):
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="expected the weights of one SPMamba .* found encoder.weight"):
        SPMamba.from_upstream(tmp_path / "other.pth")
    weights = to_upstream(model)
    del weights["blocks.1.inter_norm.gamma"]
    torch.save(weights, tmp_path / "incomplete.pth")
    with pytest.raises(UserError, match="blocks.1.inter_norm.gamma"):
        SPMamba.from_upstream(tmp_path / "incomplete.pth")
    del weights["blocks.0.intra_linear.weight"]
    torch.save(weights, tmp_path / "cut.pth")
    with pytest.raises(UserError, match="blocks.0.intra_linear.weight"):
        SPMamba.from_upstream(tmp_path / "cut.pth")
    torch.save({**to_upstream(model), "conv.0.weight": torch.ones(6, 4, 3, 3)}, tmp_path / "stereo.pth")
    with pytest.raises(UserError, match="one microphone"):
        SPMamba.from_upstream(tmp_path / "stereo.pth")
    torch.save({**to_upstream(model), "blocks.0.more.weight": torch.ones(1)}, tmp_path / "more.pth")
    with pytest.raises(UserError, match="blocks.0.more.weight is unknown"):
        SPMamba.from_upstream(tmp_path / "more.pth")
    torch.save({**to_upstream(model), "blocks.1.intra_linear.bias": torch.ones(7)}, tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"blocks.1.intra_linear.bias has the shape \[7\] instead of \[6\]"):
        SPMamba.from_upstream(tmp_path / "wide.pth")
