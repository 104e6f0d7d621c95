"""Stretches of speech are those of the package silero-vad; shares are counted by hand."""

import sys

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.rates import resample
from lobes.metrics import activity, score
from lobes.metrics.measures import MetricError

pytest.importorskip("onnxruntime")
CLIP = "speech/ljspeech/valid/LJ/LJ001-0001.flac"


@pytest.fixture(scope="module")
def silero():
    """The package, which sets the number of torch's threads."""
    import torch

    threads = torch.get_num_threads()
    package = pytest.importorskip("silero_vad")
    torch.set_num_threads(threads)
    return package


@pytest.mark.parametrize("rate", [16000, 8000])
def test_stretches_of_a_real_recording(silero, realdata, rate):
    """The package's torch network and its rule against ours with onnxruntime."""
    import torch

    wave = resample(*audio.read_mono_with_rate(realdata / CLIP), rate)
    found = silero.get_speech_timestamps(torch.from_numpy(wave), silero.load_silero_vad(), sampling_rate=rate)
    expected = [(one["start"], one["end"]) for one in found]
    assert activity.stretches(activity.probabilities(wave, rate), len(wave), rate) == expected and len(expected) > 1


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_rule_on_probabilities_at_random(silero, rate):
    rng, size, lengths = np.random.default_rng(0), activity.WINDOWS[rate], set()
    for _ in range(300):
        speech = np.clip(np.convolve(rng.uniform(-1, 2, 90), np.ones(rng.integers(1, 6)) / 4, "same"), 0, 1)
        samples = 90 * size - int(rng.integers(size))
        found = silero.get_speech_timestamps_from_probs(list(speech), rate, audio_length_samples=samples)
        expected = [(one["start"], one["end"]) for one in found]
        assert activity.stretches(speech, samples, rate) == expected
        lengths.add(len(expected))
    assert {0, 1, 2, 3} <= lengths


def test_shares(monkeypatch):
    """Of ten windows and margins, speech in the estimate, where the target is silent, and the reverse."""
    masks = {1.0: np.arange(100) < 40, 2.0: (np.arange(100) >= 30) & (np.arange(100) < 90)}
    monkeypatch.setattr(activity, "speech_mask", lambda x, rate: masks[x[0]])
    found = activity.of_estimate(np.array([1.0]), np.array([2.0]), 16000)
    assert found == {"speech_activity": 0.4, "speech_false_alarm": 0.3, "speech_missed": 0.5}


def test_half_of_a_recording_is_missed(realdata):
    wave, rate = audio.read_mono_with_rate(realdata / CLIP)
    cut = np.where(np.arange(len(wave)) < len(wave) // 2, wave, 1e-4 * wave)
    row = score(cut[:, None], wave[:, None], wave, rate, ["speech_activity"], improvement=False)
    assert 0.35 < row["speech_missed"] < 0.5 and row["speech_false_alarm"] < 0.02
    assert 0.4 < row["speech_activity"] < 0.5 and row["status"] == "ok"


@pytest.mark.parametrize("rate", [11025, 44100])
def test_another_rate_is_resampled(realdata, rate):
    wave, own_rate = audio.read_mono_with_rate(realdata / CLIP)
    share = activity.speech_mask(resample(wave, own_rate, rate), rate).mean()
    assert share == pytest.approx(activity.speech_mask(wave, own_rate).mean(), abs=0.03)


@pytest.mark.parametrize(
    ("wave", "rate", "reason"),
    [(np.zeros(9), 16000, "silent"), (np.ones(511), 16000, "too short"), (np.ones(9), 7999, "Hz")],
)
def test_no_value(wave, rate, reason):
    with pytest.raises(MetricError, match=reason):
        activity.speech_mask(wave, rate)


def test_a_missing_package_is_a_status(monkeypatch, voice):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    target = voice(1.25)[:, None]
    row = score(target, target, target[:, 0], 8000, ["speech_activity"], improvement=False)
    assert row["status"].startswith("speech_activity: silero_vad is not installed, get it by pip install")
