"""Each stage of the augmentation alone: closed forms, silence, lengths, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.augmentation.bands import limit_band
from lobes.data.augmentation.codecs import CODECS, check_codecs, code
from lobes.data.augmentation.noise import NoiseFiles, at_snr, files_below
from lobes.data.augmentation.parts import guard_peak, layers_of, summed
from lobes.data.augmentation.shift import shift_layers
from lobes.data.augmentation.speed import perturb_speed
from lobes.errors import UserError


def tone(hertz: float, rate: int = 8000, seconds: float = 1.0) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def db(x, y):
    return 10 * np.log10(np.sum(np.square(x, dtype=np.float64)) / np.sum(np.square(y, dtype=np.float64)))


def test_a_source_and_its_reverberation_change_speed_together():
    parts = {"s1": tone(300), "s1_reverb": 2 * tone(300), "s2": tone(500), "noise": tone(700)}
    lengths = set()
    for seed in range(60):
        changed = perturb_speed(parts, layers_of(2), np.random.default_rng(seed), [0.8, 1.25])
        np.testing.assert_allclose(changed["s1_reverb"], 2 * changed["s1"], atol=1e-6)
        assert len({len(x) for x in changed.values()}) == 1
        lengths.add(len(changed["s1"]))
    assert lengths == {6400, 10000}  # the shortest of all decides


def test_shifts_move_a_layer_as_a_whole_and_each_layer_on_its_own():
    impulse = np.eye(1, 101, 50, dtype=np.float32)[0]
    parts = {"s1": impulse, "s1_reverb": 0.5 * impulse, "s2": impulse, "noise": impulse}
    places = []
    for seed in range(200):
        moved = shift_layers(parts, layers_of(2), np.random.default_rng(seed), 20)
        assert np.array_equal(moved["s1_reverb"], 0.5 * moved["s1"])
        places.append([int(moved[name].argmax()) for name in ("s1", "s2", "noise")])
    places = np.array(places)
    assert places.min() == 30 and places.max() == 70
    assert (places[:, 0] != places[:, 1]).mean() > 0.9


def test_guard_peak_scales_all_parts_alike_and_leaves_soft_ones():
    soft = {"s1": tone(300), "s2": tone(500)}
    assert all(np.array_equal(guard_peak(soft)[name], soft[name]) for name in soft)
    loud = guard_peak({name: 20 * x for name, x in soft.items()})
    assert np.abs(summed(loud)).max() == pytest.approx(0.999, abs=1e-6)
    np.testing.assert_allclose(loud["s1"] / loud["s1"].max(), soft["s1"] / soft["s1"].max(), atol=1e-6)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_stands_at_its_snr(snr_db):
    noise = np.random.default_rng(0).normal(0, 3, 8000).astype(np.float32)
    assert db(tone(300), at_snr(tone(300), noise, snr_db)) == pytest.approx(snr_db, abs=1e-3)


def test_noise_next_to_silence_is_left_and_silence_stays_silent():
    noise = tone(700)
    assert np.array_equal(at_snr(np.zeros(8000, np.float32), noise, 10.0), noise)
    assert not at_snr(noise, np.zeros(8000, np.float32), 10.0).any()


def test_noise_files_are_found_below_in_order_and_read_at_any_rate(tmp_path):
    audio.write(tmp_path / "b" / "one.flac", tone(440, 16000), 16000)
    audio.write(tmp_path / "a.wav", np.stack([tone(440), tone(440)], 1), 8000)
    files = files_below(tmp_path, "noise_folder")
    assert [file.removeprefix(str(tmp_path)) for file in files] == ["/a.wav", "/b/one.flac"]
    noise = NoiseFiles(files, 8000)
    for seed in range(6):
        drawn = noise.draw(20000, np.random.default_rng(seed))  # longer than the files, which are repeated
        assert drawn.shape == (20000,) and drawn.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(drawn[:8000]))
        assert int(spectrum.argmax()) == 440
    assert len({noise.draw(100, np.random.default_rng(seed)).tobytes() for seed in range(8)}) > 4
    for place, message in ((tmp_path / "none", "there is no folder"), (tmp_path / "c", "holds no WAV")):
        (tmp_path / "c").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=f"noise_folder: .*{message}"):
            files_below(place, "noise_folder")


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_limited_band_ends_at_its_edge_without_a_delay(rate):
    low, high = tone(500, rate), tone(3400, rate)
    limited = limit_band(low + high, 2000, rate)
    assert np.abs(limited - low)[400:-400].max() < 1e-3
    edge = limit_band(tone(2000, rate), 2000, rate)
    assert db(edge[400:-400], tone(2000, rate)[400:-400]) == pytest.approx(-6, abs=0.1)  # 3 dB each way
    assert limit_band(low, rate / 2, rate) is low and limit_band(low[:5], 1000, rate).shape == (5,)


def voice(rate: int) -> np.ndarray:
    time = np.arange(round(1.237 * rate)) / rate
    tones = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20))
    return (0.1 * tones * (1 + np.sin(2 * np.pi * 3 * time))).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_keeps_time_length_and_level(codec, rate):
    x = voice(rate)
    coded = code(x, rate, codec, 0.5)
    assert coded.shape == x.shape and coded.dtype == np.float32
    lag = int(np.abs(np.fft.irfft(np.fft.rfft(coded, 4 * rate) * np.fft.rfft(x, 4 * rate).conj())).argmax())
    assert lag == 0
    assert 5 < db(x, x - coded) < 60  # it hurts, and is the same speech
    np.testing.assert_allclose(code(4 * x, rate, codec, 0.5), 4 * coded, atol=2e-3)  # of any level, never clipped
    assert not code(np.zeros(800, np.float32), rate, codec).any()


def test_stronger_compression_hurts_more():
    x = voice(16000)
    for codec in ("mp3", "vorbis"):
        assert db(x, x - code(x, 16000, codec, 0.1)) > db(x, x - code(x, 16000, codec, 0.95)) + 3


@pytest.mark.parametrize(
    "codecs, rate, message",
    [(["zip"], 8000, "among mp3, vorbis"), (["opus"], 11025, "opus takes 8000, 12000.*got sample_rate 11025")],
)
def test_codecs_that_cannot_be_are_refused(codecs, rate, message):
    with pytest.raises(UserError, match=f"codecs: .*{message}"):
        check_codecs(codecs, rate)
