"""Sample rates: strange ones are resampled, impossible ones refused before a filter is designed."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from lobes.data import audio
from lobes.data.rates import resample, resample_blocks
from lobes.errors import UserError


@pytest.mark.parametrize("own", [1000, 8000, 11025, 22254, 44101, 48000, 192000, 768000])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_tones_survive(own, rate):
    seconds = 0.2
    tone = np.sin(2 * np.pi * 200 * np.arange(int(own * seconds)) / own)
    got = resample(tone, own, rate)
    assert len(got) == -(-len(tone) * rate // own) and got.dtype == np.float32
    wanted = np.sin(2 * np.pi * 200 * np.arange(len(got)) / rate)
    inner = slice(len(got) // 4, -len(got) // 4)
    assert np.abs(got - wanted)[inner].max() < 0.01


@pytest.mark.parametrize("wrong", [0, 1, 999, 768001, 1_400_000_000, -8000])
def test_impossible_rates(wrong):
    for pair in ((wrong, 8000), (8000, wrong), (wrong, wrong)):
        with pytest.raises(UserError, match=f"expected 1000 to 768000 Hz, got {wrong} Hz"):
            resample(np.zeros(10), *pair)


@pytest.mark.parametrize("rate", [1, 999, 768001, 1_400_000_000])
def test_impossible_rate_in_a_header(tmp_path, rate):
    sf.write(tmp_path / "a.wav", np.zeros(10), rate)
    for read in (audio.probe, audio.read, audio.duration):
        with pytest.raises(UserError, match=rf"a\.wav: sample rate is {rate} Hz, expected 1000 to 768000 Hz"):
            read(tmp_path / "a.wav")


@pytest.mark.parametrize(("own", "rate"), [(44100, 8000), (8000, 44100), (16000, 8000), (7919, 8000), (8000, 8000)])
@pytest.mark.parametrize("size", [1, 997, 100000])
def test_a_stream_of_blocks_gives_what_the_whole_gives(own, rate, size):
    x = np.random.default_rng(0).standard_normal((3 * own // 2 + 5, 2)).astype(np.float32)
    x = x[: 500 * size]
    blocks = (x[start : start + size] for start in range(0, len(x), size))
    assert np.array_equal(np.concatenate(list(resample_blocks(blocks, own, rate))), resample(x, own, rate))


@pytest.mark.parametrize(("own", "rate"), [(16000, 8000), (44100, 8000), (48000, 16000)])
def test_what_lies_above_the_lower_rate_does_not_come_back_as_an_alias(own, rate):
    """50 dB down from a fifth above half the lower rate on; a tone in the middle of the band keeps its level."""
    t = np.arange(own) / own
    for frequency, low, high in ((0.6 * rate, -200, -50), (0.75 * rate, -200, -50), (0.25 * rate, -0.1, 0.1)):
        y = resample(np.sin(2 * np.pi * frequency * t), own, rate)[rate // 10 : -rate // 10]
        assert low < 20 * np.log10(np.sqrt(2 * np.mean(y**2)) + 1e-12) < high
