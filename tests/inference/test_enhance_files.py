"""`lobes enhance --pcs`: a second file with stretched contrast, at the level of the first."""

import numpy as np
import pytest
import torch

from lobes.cli import app
from lobes.data import audio
from lobes.data.rates import resample
from lobes.inference import Separator
from lobes.inference.speechbrain_adapter import adapt
from lobes.metrics.pcs import pcs

RATE = 16000


class Half(torch.nn.Module):
    def forward(self, mix, lengths=None):
        return mix[..., None] / 2


@pytest.fixture
def enhancer():
    return Separator(adapt(Half()), {"num_spks": 1, "sample_rate": RATE}, run_opts={"device": "cpu"})


def write_noise(path, rate):
    noise = 0.2 * np.convolve(np.random.default_rng(0).standard_normal(rate // 4), np.hanning(8), "same")
    audio.write(path, noise, rate, "FLOAT")


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_second_file_is_the_first_after_pcs(enhancer, tmp_path, rate):
    write_noise(tmp_path / "a.wav", rate)
    [written] = enhancer.enhance_files([tmp_path / "a.wav"], tmp_path / "out", pcs=True)
    assert [path.name for path in written] == ["a_enhanced.wav", "a_enhanced_pcs.wav"]
    plain, stretched = (audio.read(path)[0] for path in written)
    expected = resample(pcs(resample(plain[:, None], rate, RATE)[:, 0])[:, None], RATE, rate)[: len(plain), 0]
    expected *= np.sqrt(np.square(plain).mean() / np.square(expected).mean())
    assert np.abs(stretched - expected).max() < 0.02 * np.abs(plain).max()
    assert np.abs(stretched - plain).max() > 0.1 * np.abs(plain).max()


@pytest.mark.parametrize("options, names", [([], ["a_enhanced"]), (["--pcs"], ["a_enhanced", "a_enhanced_pcs"])])
def test_the_command_writes_the_second_file_when_asked(enhancer, tmp_path, monkeypatch, options, names):
    monkeypatch.setattr(Separator, "from_hparams", lambda *arguments, **more: enhancer)
    write_noise(tmp_path / "a.wav", RATE)
    out = tmp_path / "out"
    app(["enhance", "MODEL", str(tmp_path / "a.wav"), "-o", str(out), *options], standalone_mode=False)
    assert sorted(path.stem for path in out.iterdir()) == names
