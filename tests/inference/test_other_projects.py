"""Asteroid and ClearVoice themselves behind the adapters; `make other-projects` installs each and runs this."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lobes.data import audio
from lobes.errors import UserError
from lobes.inference import Separator

MOSSFORMER = "MossFormer2_SS_16K"
SMALL = {
    "ConvTasNet": {"n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8, "n_filters": 16},
    "DPRNNTasNet": {"n_repeats": 1, "bn_chan": 8, "hid_size": 8, "chunk_size": 20, "n_filters": 16},
}
ENHANCERS = {
    "DCUNet": {"architecture": "DCUNet-10", "stft_n_filters": 256, "stft_kernel_size": 256, "stft_stride": 64},
    "DeMask": {"hidden_dims": (16,), "n_filters": 64, "kernel_size": 64, "stride": 32},
}


@pytest.mark.parametrize("name", [*SMALL, *ENHANCERS])
def test_asteroids_networks(tmp_path, name):
    models = pytest.importorskip("asteroid.models")
    torch.manual_seed(0)
    sources = {"n_src": 2} if name in SMALL else {}
    network = models.get(name)(sample_rate=8000, **sources, **{**SMALL, **ENHANCERS}[name]).eval()
    saved = {"model_name": name, "model_args": network.get_model_args(), "state_dict": network.get_state_dict()}
    torch.save({**saved, "infos": {"software_versions": {"torch_version": torch.__version__}}}, tmp_path / "model.bin")
    separator = Separator.from_hparams(f"lobes.inference.third_party:asteroid={tmp_path / 'model.bin'}")
    mix = torch.randn(2, 4001) / 10
    if name == "DCUNet":  # it was saved without a way to fit the length
        assert network.masker.fix_length_mode is None
        network.masker.fix_length_mode = "pad"
    with torch.no_grad():
        expected = torch.stack([network(item[None])[0] for item in mix])  # [B,S,T]
    assert (separator.sample_rate, separator.num_sources) == (8000, sources.get("n_src", 1))
    assert torch.equal(separator.separate_batch(mix).transpose(1, 2), expected)


def test_a_file_of_asteroid_with_objects_that_could_run_code(tmp_path):
    pytest.importorskip("asteroid.models")
    torch.save({"model_name": "ConvTasNet", "state_dict": {}, "infos": Path}, tmp_path / "model.bin")
    with pytest.raises(UserError, match=r"model.bin: holds more than weights.*pathlib"):
        Separator.from_hparams(f"lobes.inference.third_party:asteroid={tmp_path / 'model.bin'}")


def test_mossformer2_as_the_tool_itself_runs_it_on_a_file(tmp_path, monkeypatch):
    """3.5 s are whole windows: no padding, after which the tool's two modes would differ in level."""
    wrapper = pytest.importorskip("clearvoice.network_wrapper").network_wrapper()
    from clearvoice import ClearVoice
    from clearvoice.models.mossformer2_ss.mossformer2 import MossFormer2_SS_16K

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    wrapper.model_name = MOSSFORMER
    wrapper.load_args_ss()
    weights = tmp_path / "checkpoints" / MOSSFORMER
    weights.mkdir(parents=True)
    torch.save({"model": MossFormer2_SS_16K(wrapper.args).model.state_dict()}, weights / "model.pt")
    (weights / "last_best_checkpoint").write_text("model.pt\n")
    mix = np.random.default_rng(0).integers(-3000, 3000, 56000).astype(np.float32) / 32768
    audio.write(tmp_path / "mix.wav", mix, 16000, "PCM_16")

    separator = Separator.from_hparams(f"lobes.inference.third_party:clearvoice={MOSSFORMER}")
    estimates = separator.separate_batch(torch.from_numpy(mix)[None])[0].numpy().T  # [S,T]
    by_file = np.stack(ClearVoice("speech_separation", [MOSSFORMER])(str(tmp_path / "mix.wav")))[:, 0]
    level = np.sqrt(np.mean(mix**2) / np.mean(by_file**2, axis=1, keepdims=True))  # files come at the tool's own level
    assert np.abs(estimates - level * by_file).max() < 1e-4 * np.abs(estimates).max()


def test_missing_weights_are_an_error_and_not_random_ones(tmp_path, monkeypatch):
    pytest.importorskip("clearvoice")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="could not be downloaded"):
        Separator.from_hparams(f"lobes.inference.third_party:clearvoice={MOSSFORMER}")
