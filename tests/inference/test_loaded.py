"""`lobes.load` and `lobes.separate`: the same kind out, what a file gives, any rate and length, refusals."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

import lobes
from lobes.data import audio
from lobes.errors import UserError
from lobes.inference.options import Options

MODEL = "lobes_loaded_test:make"
RATES = [8000, 16000, 11025]


class Echoes:
    """Two sources that depend on the place in the signal, at a gain of their own."""

    sample_rate, num_sources = 8000, 2

    def __call__(self, mix):
        late = torch.nn.functional.pad(mix, (5, 0))[: len(mix)]
        return torch.stack([9 * mix, -3 * late])


@pytest.fixture(autouse=True)
def package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lobes_loaded_test", types.SimpleNamespace(make=Echoes))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model():
    return lobes.load(MODEL, device="cpu")


def wave(samples: int = 3001, batch: int = 0) -> np.ndarray:
    shape = (batch, samples) if batch else samples
    return np.random.default_rng(0).uniform(-0.3, 0.3, shape).astype(np.float32)


def put(path: Path, x: np.ndarray, rate: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x, rate, subtype="FLOAT")
    return path


# ------------------------------------------------------------------------------------------------ waves
@pytest.mark.parametrize("rate", RATES)
def test_a_wave_gives_what_its_file_gives_bit_for_bit(model, tmp_path, rate):
    x = wave()
    sources = model(x, rate)
    assert sources.shape == (2, len(x)) and sources.dtype == np.float32
    path = put(tmp_path / "a.wav", x, rate)
    assert np.array_equal(sources, model.separator.separate_file(path)[0].T.numpy())
    assert np.array_equal(sources, model.separate_file(path))
    assert np.array_equal(sources, lobes.separate(path, model=MODEL, device="cpu"))
    assert np.array_equal(sources, lobes.separate(x, rate, model=MODEL, device="cpu"))


@pytest.mark.parametrize("options", [Options(chunk_s=1.0), Options(chunk_s=1.0, mixture_consistency=True)])
def test_a_long_wave_is_cut_as_its_file_is(model, tmp_path, options):
    x = wave(30000)
    path = put(tmp_path / "a.wav", x, 11025)
    assert np.array_equal(model(x, 11025, options), model.separate_file(path, options))
    assert np.array_equal(model(x, 11025, options), lobes.load(MODEL, device="cpu", options=options)(x, 11025))


def test_a_batch_is_its_signals_and_stands_at_the_level_of_the_mixture(model):
    x = wave(2000, batch=3)
    sources = model(x, 8000)
    assert sources.shape == (3, 2, 2000)
    assert all(np.array_equal(sources[item], model(x[item], 8000)) for item in range(3))
    raw = lobes.load(MODEL, device="cpu", level="model")(x, 8000)
    assert np.allclose(raw[:, 0], 9 * x) and np.abs(sources[:, 0]).max() < 0.5


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int16])
def test_the_same_kind_comes_out(model, kind):
    x = wave(500)
    given = (x * 32768).astype(kind) if kind == np.int16 else x.astype(kind)
    expected = np.float32 if kind == np.int16 else kind
    for batched in (given, given[None]):
        assert model(batched, 8000).dtype == expected
        tensor = model(torch.from_numpy(batched), 8000)
        assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.from_numpy(np.zeros(1, expected)).dtype
        assert np.array_equal(tensor.numpy(), model(batched, 8000))
    assert np.allclose(model(given, 8000), model(x, 8000), atol=2e-3)


def test_silence_odd_views_and_gradients(model):
    x = wave(500)
    assert not model(np.zeros(100), 8000).any()
    assert np.array_equal(model(x[::-1], 8000), model(x[::-1].copy(), 8000))
    assert np.array_equal(model(x.tolist(), 8000.0), model(x.astype(float), 8000))
    assert not model(torch.from_numpy(x).requires_grad_(), 8000).requires_grad
    before = x.copy()
    model(x, 8000)
    assert np.array_equal(x, before)


@pytest.mark.parametrize(
    "given, rate, message",
    [
        (np.zeros((500, 2)), 8000, r"got 500 signals of 2 samples. If these are channels \[T,C\], .*wave.mean\(1\)"),
        (np.zeros((1, 2, 50)), 8000, r"expected a mixture \[T\] or \[B,T\]"),
        (np.array([]), 8000, "at least one sample"),
        (np.array([0.1, np.nan]), 8000, "sample 1 of item 0 of the mixture is nan"),
        (np.zeros(9), 8000.5, "rate: expected the wave's sample rate in Hz, got 8000.5"),
        (np.zeros(9), "8000", "rate: expected the wave's sample rate in Hz, got '8000'"),
        (np.zeros(9), None, "rate: expected the wave's sample rate in Hz, got None"),
        (np.zeros(9), True, "rate: expected"),
        (np.zeros(9), float("nan"), "rate: expected"),
        (np.ones(9), 1, "sample rate: expected 1000 to 768000 Hz, got 1 Hz"),
        (np.zeros(9), 0, "rate: expected the wave's sample rate in Hz, got 0"),
        (np.zeros(9), -8000, "rate: expected the wave's sample rate in Hz, got -8000"),
        ([np.zeros(5), np.zeros(6)], 8000, "got signals of different lengths. Give each alone"),
        (np.array([0.5, None]), 8000, "expected floating-point, int16, int32 or uint8 samples, got ndarray, object"),
        ("mix.wav", 8000, "expected floating-point, int16, int32 or uint8 samples, got str"),
        (None, 8000, "expected floating-point, int16, int32 or uint8 samples, got NoneType"),
    ],
)
def test_what_is_no_wave_or_no_rate(model, given, rate, message):
    with pytest.raises(UserError, match=message):
        model(given, rate)


# ------------------------------------------------------------------------------------------------ files
def test_folders_are_mirrored_skipped_when_finished_and_no_bad_file_ends_the_others(model, tmp_path):
    for name in ("in/a.wav", "in/b/c.wav"):
        put(tmp_path / name, wave(), 8000)
    written = model.separate_files("in", "out", recursive=True)
    assert [[path.as_posix() for path in files] for files in written] == [
        [f"out/{name}_s{number}.wav" for number in (1, 2)] for name in ("a", "b/c")
    ]
    times = {path: path.stat().st_mtime_ns for files in written for path in files}
    put(tmp_path / "in" / "d.wav", wave(900), 8000)
    (tmp_path / "in" / "bad.wav").write_text("hello")
    with pytest.raises(UserError, match=r"^1 of 4 files failed: in/bad.wav: is not a readable audio file") as caught:
        model.separate_files(["in"], "out", recursive=True)
    assert "\n" not in str(caught.value) and (tmp_path / "out" / "d_s2.wav").is_file()
    assert times == {path: path.stat().st_mtime_ns for path in times}
    [[first, _]] = model.separate_files(["in/a.wav"], "other", options=Options(format="flac"))
    assert first.name == "a_s1.flac" and np.allclose(audio.read(first)[0], model(wave(), 8000)[0], atol=1e-4)


def test_channels_have_no_place_in_an_array(model, tmp_path):
    path = put(tmp_path / "a.wav", np.stack([wave(), wave()], 1), 8000)
    assert model.separate_file(path).shape == (2, 3001)
    with pytest.raises(UserError, match="channels='each'"):
        model.separate_file(path, Options(channels="each"))


def test_a_rate_goes_with_a_wave_and_not_with_a_file(tmp_path):
    path = put(tmp_path / "a.wav", wave(), 8000)
    with pytest.raises(UserError, match="rate: a file says its own"):
        lobes.separate(path, 8000, model=MODEL)
    with pytest.raises(UserError, match="rate: give that of the wave"):
        lobes.separate(wave(), model=MODEL)


def test_the_file_is_looked_at_before_a_default_model_is_fetched(tmp_path, monkeypatch):
    import huggingface_hub.constants

    from lobes.inference.catalogue import default

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="mix.wav: no such audio file"):
        lobes.separate("mix.wav")
    with pytest.raises(UserError, match=f"^{default()}: .*HF_HUB_OFFLINE forbids"):
        lobes.separate(put(tmp_path / "mix.wav", wave(), 8000))


def test_a_model_says_what_it_is(model):
    assert (model.sample_rate, model.num_sources) == (8000, 2)
    assert repr(model) == f"<{MODEL}: 8000 Hz, sources: 2>"
    with pytest.raises(UserError, match="no such device|expected|device"):
        lobes.load(MODEL, device="no-such-device")


# ------------------------------------------------------------------------------------------------ strength
@pytest.mark.parametrize(("options", "share"), [(Options(strength=0.25), 0.25), (Options(max_attenuation_db=0.0), 0.0)])
def test_a_part_of_an_enhancement_is_the_same_in_waves_and_files(monkeypatch, tmp_path, options, share):
    class Quieter:
        sample_rate, num_sources = 8000, 1

        def __call__(self, mix):
            return mix[None] / 2

    monkeypatch.setitem(sys.modules, "lobes_loaded_test", types.SimpleNamespace(make=Quieter))
    model = lobes.load(MODEL, device="cpu", level="model", options=options)
    x, expected = wave(), wave() * (1 - share / 2)
    path = put(tmp_path / "a.wav", x, 8000)
    [[written]] = model.separate_files([path], "out")
    for found in (model(x, 8000)[0], model.separate_file(path)[0], audio.read(written)[0]):
        assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6)


def test_a_part_of_several_sources_is_refused(model, tmp_path):
    with pytest.raises(UserError, match="--strength, --max_attenuation_db: are for models of one source"):
        model(wave(), 8000, Options(strength=0.5))
    with pytest.raises(UserError, match="this one gives 2"):
        model.separate_files([put(tmp_path / "a.wav", wave(), 8000)], "out", options=Options(max_attenuation_db=6))
