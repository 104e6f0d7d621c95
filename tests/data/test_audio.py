"""Reading and writing audio: every kind of bad file gives one line that names the user's path."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import soundfile as sf

from lobes.data import audio
from lobes.data.checks import check_audio
from lobes.data.files import replacing
from lobes.errors import UserError


def tone(frames: int = 4000, channels: int = 1) -> np.ndarray:
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)
    return x[:, 0] if channels == 1 else x


def test_sixteen_bit_round_trip_is_exact(tmp_path):
    x = np.arange(-32768, 32768, dtype=np.float64) / 32768
    audio.write(tmp_path / "a.wav", x, 8000)
    y, rate = audio.read(tmp_path / "a.wav")
    assert rate == 8000 and y.dtype == np.float32
    np.testing.assert_array_equal(y, x.astype(np.float32))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_subtypes_keep_level(tmp_path, subtype):
    x = tone()
    audio.write(tmp_path / "a.wav", x, 16000, subtype)
    np.testing.assert_allclose(audio.read_mono(tmp_path / "a.wav", 16000), x, atol=2**-15)


def test_stereo_is_averaged_and_shape_kept(tmp_path):
    x = tone(1000, 3)
    audio.write(tmp_path / "new" / "a.flac", x, 8000)
    assert audio.read(tmp_path / "new" / "a.flac")[0].shape == (1000, 3)
    np.testing.assert_allclose(audio.read_mono(tmp_path / "new" / "a.flac"), x.mean(1), atol=2**-15)


def test_mono_with_the_files_own_rate(tmp_path):
    x = tone(1000, 3)
    audio.write(tmp_path / "a.wav", x, 22050)
    samples, rate = audio.read_mono_with_rate(tmp_path / "a.wav")
    assert rate == 22050 and samples.dtype == np.float32
    np.testing.assert_array_equal(samples, audio.read_mono(tmp_path / "a.wav", 22050))


def test_format_of_an_unfinished_file(tmp_path):
    with replacing(tmp_path / "a.flac") as partial:
        audio.write(partial, tone(), 8000)
    assert (tmp_path / "a.flac").read_bytes()[:4] == b"fLaC"


def test_probe_and_duration(tmp_path):
    audio.write(tmp_path / "a.wav", tone(2000, 2), 8000)
    assert audio.probe(tmp_path / "a.wav") == (2000, 8000, 2, "PCM_16")
    assert audio.duration(tmp_path / "a.wav") == 0.25


def test_wrong_rate_names_both(tmp_path):
    audio.write(tmp_path / "a.wav", tone(), 8000)
    with pytest.raises(UserError, match=r"a\.wav.*8000 Hz, expected 16000 Hz"):
        audio.read_mono(tmp_path / "a.wav", 16000)


def bad_files(folder):
    """One file of each kind of damage, with the words that its message must hold."""
    audio.write(folder / "good.wav", tone(), 8000)
    audio.write(folder / "good.flac", tone(), 8000)
    good, flac = (folder / "good.wav").read_bytes(), (folder / "good.flac").read_bytes()
    (folder / "cut.wav").write_bytes(good[:3000])
    (folder / "head.wav").write_bytes(good[:30])
    (folder / "huge.wav").write_bytes(good[:40] + struct.pack("<I", 2_000_000_000) + good[44:])
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "text.wav").write_text("this is not audio")
    (folder / "empty.wav").write_bytes(b"")
    sf.write(folder / "none.wav", np.zeros(0), 8000)
    (folder / "dir.wav").mkdir()
    return {
        "missing.wav": "no such audio file",
        "cut.wav": "truncated",
        "head.wav": "not a readable audio file|truncated|no samples",
        "huge.wav": "truncated.*2000000000",
        "cut.flac": "truncated|damaged",
        "text.wav": "not a readable audio file",
        "empty.wav": "empty",
        "none.wav": "no samples",
        "dir.wav": "is a folder",
    }


def test_bad_files_are_one_clear_error(tmp_path):
    for name, words in bad_files(tmp_path).items():
        with pytest.raises(UserError, match=words) as caught:
            audio.read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_sample_names_first_index(tmp_path, bad):
    x = tone()
    x[[17, 900]] = bad
    sf.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    with pytest.raises(UserError, match="sample 17 is"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF", "W64", "AU"])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floating_point_keeps_what_exceeds_full_scale(tmp_path, container, subtype):
    x = np.array([0.5, -3.0, 1e-20, 7.25] * 500, np.float32)
    sf.write(tmp_path / "a", x, 8000, subtype, format=container)
    np.testing.assert_array_equal(audio.read(tmp_path / "a")[0], x)
    x[[3, 11]] = np.nan
    sf.write(tmp_path / "a", x, 8000, subtype, format=container)
    with pytest.raises(UserError, match="a: sample 3 is nan, expected finite samples"):
        audio.read(tmp_path / "a")


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_constant_signals(tmp_path, subtype, value):
    audio.write(tmp_path / "a.wav", np.full(3000, value), 8000, subtype)
    np.testing.assert_array_equal(audio.read_mono(tmp_path / "a.wav"), np.full(3000, value, np.float32))


def test_T2_52_a_file_of_zero_samples_is_named(tmp_path):
    audio.write(tmp_path / "a.wav", tone(), 8000)
    sf.write(tmp_path / "none.wav", np.zeros(0), 8000)
    rows = [{"ID": "a", "mix_wav": str(tmp_path / "a.wav"), "s1_wav": str(tmp_path / "none.wav")}]
    with pytest.raises(UserError, match=r"none\.wav: the audio file holds no samples"):
        check_audio(rows, 8000)


def test_streamed_wav_of_unknown_size_is_read(tmp_path):
    audio.write(tmp_path / "a.wav", tone(), 8000)
    good = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(good[:40] + b"\xff\xff\xff\xff" + good[44:])
    np.testing.assert_array_equal(audio.read_mono(tmp_path / "b.wav"), audio.read_mono(tmp_path / "a.wav"))


def test_odd_file_names(tmp_path):
    names = [b"with space \xc5\xbc.wav", b"not utf8 \xff.wav", b"x" * 251 + b".wav"]
    for name in names:
        path = os.path.join(os.fsencode(tmp_path), name)
        audio.write(os.fsdecode(path), tone(), 8000)
        assert len(audio.read_mono(os.fsdecode(path))) == 4000
    with pytest.raises(UserError, match=r"\\xfe\.wav: no such"):
        audio.read(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xfe.wav")))


def test_clipping_is_said(tmp_path, caplog):
    audio.write(tmp_path / "a.wav", np.array([0.0, 1.5, -1.5]), 8000)
    assert "2 samples beyond full scale" in caplog.text
    assert np.abs(audio.read_mono(tmp_path / "a.wav")).max() <= 1.0


def test_write_refuses_nonsense(tmp_path):
    with pytest.raises(ValueError, match="not all finite"):
        audio.write(tmp_path / "a.wav", np.array([np.nan]), 8000)
    with pytest.raises(ValueError, match=r"\(2, 2, 2\)"):
        audio.write(tmp_path / "a.wav", np.zeros((2, 2, 2)), 8000)
    with pytest.raises(UserError, match="cannot write files of type 'xyz'"):
        audio.write(tmp_path / "a.xyz", np.zeros(3), 8000)


def test_A06_channels_that_cancel_are_named(tmp_path, caplog):
    x = 0.1 * np.random.default_rng(0).standard_normal(4000)
    for name, second, warned in (("a", -x, True), ("b", 0 * x, False), ("c", x[::-1], False), ("d", x, False)):
        caplog.clear()
        audio.write(tmp_path / f"{name}.wav", np.stack([x, second], 1), 8000)
        audio.read_mono(tmp_path / f"{name}.wav")
        assert ("channels cancel" in caplog.text) == warned


def test_blocks_are_the_whole(tmp_path, monkeypatch):
    x = np.random.default_rng(0).uniform(-1, 1, (10007, 2)).astype(np.float32)
    x[9000, 1] = np.nan
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 1000)
    sf.write(tmp_path / "bad.wav", x, 8000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"bad\.wav: sample 9000 is nan"):
        list(audio.read_blocks(tmp_path / "bad.wav"))
    audio.write(tmp_path / "a.wav", np.nan_to_num(x), 8000)
    blocks = list(audio.read_blocks(tmp_path / "a.wav"))
    assert len(blocks) == 21 and np.array_equal(np.concatenate(blocks), audio.read(tmp_path / "a.wav")[0])
