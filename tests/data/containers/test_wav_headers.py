"""WAV files of pipes, recorders and careless programs are read whole; cut, stale and joined ones are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.containers import extent, riff, whole
from lobes.errors import UserError

PIPES = (0xFFFFFFFF, 0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 36, 0x7FFFF000 // 6 * 6, 0x7FFFFF00)


@pytest.fixture(scope="session")
def wav(encoded):
    return encoded("WAV", "PCM_16")


def with_size(content: bytes, size: int, riff: int | None = None) -> bytes:
    whole_size = (size + 36) & 0xFFFFFFFF if riff is None else riff
    return content[:4] + struct.pack("<I", whole_size) + content[8:40] + struct.pack("<I", size) + content[44:]


def chunk(name: bytes, body: bytes, pad: bool = True) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (pad and len(body) % 2)


@pytest.mark.parametrize("name", ["sox_pipe.wav", "arecord_pipe.wav"])
def test_T2_01_sizes_of_recorders(cases, name):
    samples, rate = audio.read(cases / "T2-01" / name)
    assert (len(samples), rate) == (24000, 8000)
    raw = np.frombuffer((cases / "T2-01" / name).read_bytes()[44:], "<i2")
    np.testing.assert_array_equal(samples, raw.astype(np.float32) / 32768)


def test_T2_03_pipe_of_ffmpeg_with_a_list_of_odd_size(wav, decoded):
    odd = chunk(b"LIST", b"INFOISFT\5\0\0\0Lavf\0")
    streamed = wav[:36] + odd + b"data\xff\xff\xff\xff" + wav[44:]
    np.testing.assert_array_equal(decoded(streamed), decoded(wav))


@pytest.mark.parametrize("riff", [None, 0, 8, 0xFFFFFFFF, 8036])
@pytest.mark.parametrize("size", PIPES)
def test_unknown_sizes(wav, decoded, size, riff):
    np.testing.assert_array_equal(decoded(with_size(wav, size, riff)), decoded(wav))


def test_unknown_size_of_24_bit_stereo(encoded, decoded):
    content = encoded("WAV", "PCM_24", channels=2)
    np.testing.assert_array_equal(decoded(with_size(content, 0x7FFFF000 // 6 * 6)), decoded(content))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0, 0x7FFFF000])
def test_big_endian(wav, decoded, size):
    samples = np.frombuffer(wav[44:], "<i2").astype(">i2").tobytes()
    head = struct.pack(">IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data"
    for number in (size, 8000):
        content = b"RIFX" + struct.pack(">I", 8036) + b"WAVEfmt " + head + struct.pack(">I", number) + samples
        np.testing.assert_array_equal(decoded(content), decoded(wav))


def test_bw64(encoded, decoded, wav):
    rf64 = encoded("RF64", "PCM_16")
    np.testing.assert_array_equal(decoded(b"BW64" + rf64[4:]), decoded(wav))


@pytest.mark.parametrize("pad", [True, False])
def test_chunk_of_odd_size_before_the_samples(wav, decoded, pad):
    content = wav[:36] + chunk(b"LIST", b"INFOx", pad) + wav[36:]
    np.testing.assert_array_equal(decoded(content), decoded(wav))


@pytest.mark.parametrize(
    "tail",
    [
        chunk(b"LIST", b"INFOISFT\4\0\0\0Lavf"),
        chunk(b"id3 ", b"abc"),
        b"TAG" + b"x" * 125,
        bytes(5000),
        b"\xaa" * 40,
        chunk(b"LIST", b"INFO", False)[:-2],
    ],
    ids=["list", "odd", "tag", "zeros", "stray", "cut list"],
)
def test_what_follows_the_samples(wav, decoded, tail):
    np.testing.assert_array_equal(decoded(wav + tail), decoded(wav))


def test_odd_number_of_bytes(encoded, decoded):
    content = encoded("WAV", "PCM_U8", frames=4001)
    assert len(decoded(content)) == len(decoded(content.rstrip(b"\0"))) == 4001  # the padding may be missing
    assert len(decoded(content + chunk(b"LIST", b"INFO"))) == 4001


@pytest.mark.parametrize("excess", [44, 36])
def test_header_counted_among_the_samples(wav, decoded, excess):
    np.testing.assert_array_equal(decoded(with_size(wav, 8000 + excess, 8036)), decoded(wav))


@pytest.mark.parametrize("lost", [1, 36, 44, 4000, 7999])
def test_A08_broken_copy(wav, decoded, lost):
    with pytest.raises(
        UserError, match=rf"truncated: the header promises 8000 bytes of samples, it holds {8000 - lost}"
    ):
        decoded(wav[:-lost])


@pytest.mark.parametrize("size", [1_000_000, 2_000_000_000, 0x7FFE0000, 0x90000000])
def test_A08_A10_a_size_of_no_recorder_is_a_cut(wav, decoded, size):
    with pytest.raises(UserError, match=f"truncated: the header promises {size} bytes"):
        decoded(with_size(wav, size))


@pytest.mark.parametrize("riff", [None, 0, 8036, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [2, 4000, 7000])
def test_A08_stale_header(wav, decoded, size, riff):
    with pytest.raises(UserError, match=f"counts {size} bytes of samples, {8000 - size} more follow"):
        decoded(with_size(wav, size, riff))


@pytest.mark.parametrize("size", [8000, 0xFFFFFFFF, 0])
def test_joined(wav, decoded, size):
    with pytest.raises(UserError, match="a second recording begins at byte 8044"):
        decoded(with_size(wav, size) + wav)


def test_no_samples(wav, decoded):
    for content in (
        with_size(wav, 0)[:44],
        with_size(wav, 0)[:44] + chunk(b"LIST", b"INFO"),
        with_size(wav, 0xFFFFFFFF)[:44],
    ):
        with pytest.raises(UserError, match="no samples"):
            decoded(content)


def test_longer_than_the_placeholder(wav, decoded, monkeypatch):
    """A pipe knows no limit: 3 GiB may follow a size that stands for 2 GiB."""
    monkeypatch.setattr(extent, "PLACEHOLDERS", (4000,))
    np.testing.assert_array_equal(decoded(with_size(wav, 4000)), decoded(wav))


def test_longer_than_a_header_can_say(wav, decoded, monkeypatch):
    """The new header is then that of RF64, with 64 bits."""
    monkeypatch.setattr(riff, "LARGEST", 4000)
    np.testing.assert_array_equal(decoded(with_size(wav, 0xFFFFFFFF)), decoded(wav))


def test_regular_files_are_not_taken_apart(tmp_path, wav):
    (tmp_path / "a.wav").write_bytes(wav)
    assert whole.views(tmp_path / "a.wav") is None
