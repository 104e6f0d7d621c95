"""MP3 files are read to their real end, whatever index, tags or second stream they have."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.containers import mpeg
from lobes.errors import UserError

VARIABLE = {"bitrate_mode": "VARIABLE", "compression_level": 0.3}
CONSTANT = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
ID3V2 = b"ID3\x03\0\0\0\0\x10\0" + b"\xff\xfb\x90\xc4" * 512  # its picture looks like frames
ID3V1 = b"TAG" + b"y" * 125
APE_HEAD = struct.Struct("<8sIIII8x")
APE = (
    APE_HEAD.pack(b"APETAGEX", 2000, 96, 1, 0xA0000000)
    + b"\xff" * 64
    + APE_HEAD.pack(b"APETAGEX", 2000, 96, 1, 1 << 31)
)
LYRICS = b"LYRICSBEGIN" + b"\xff" * 30 + b"000041LYRICS200"


@pytest.fixture(scope="session", params=[(44100, 2), (16000, 1), (11025, 1)], ids=["44k", "16k", "11k"])
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def variable(encoded, kind):
    return encoded("MP3", None, 30000, *kind, **VARIABLE)


@pytest.fixture(scope="session")
def constant(encoded, kind):
    return encoded("MP3", None, 20000, *kind, seed=1, **CONSTANT)


def without_index(content: bytes) -> bytes:
    return content[mpeg.frame_at(content, 0).size :]


def frames(content: bytes) -> int:
    """Samples of all frames."""
    at = count = 0
    while at < len(content):
        at, count = at + mpeg.frame_at(content, at).size, count + 1
    return count * (1152 if mpeg.frame_at(content, 0).version == 1 else 576)


def test_T2_04_variable_bit_rate_without_index(cases, plain):
    path = cases / "T2-04" / "vbr_without_xing.mp3"
    samples, rate = audio.read(path)
    assert (len(samples), rate) == (398592, 44100) and audio.probe(path).frames == 398592
    beginning = plain(path.read_bytes())  # what libsndfile reads of it
    np.testing.assert_allclose(samples[: len(beginning)], beginning, atol=1e-6)


def test_T2_06_picture_in_a_tag(cases):
    samples, rate = audio.read(cases / "T2-06" / "artwork.mp3")
    assert (len(samples), rate) == (222336, 44100)


@pytest.mark.parametrize("front", [b"", ID3V2, 2 * ID3V2, bytes(300)], ids=["", "id3", "two", "zeros"])
@pytest.mark.parametrize(
    "back",
    [b"", ID3V1, APE, APE + ID3V1, LYRICS + ID3V1, bytes(700)],
    ids=["", "id3", "ape", "both", "lyrics", "zeros"],
)
def test_tags(variable, decoded, front, back):
    if front and not front.strip(b"\0"):
        front = ID3V2 + front  # libsndfile knows no file that begins with zeros
    np.testing.assert_allclose(decoded(front + variable + back), decoded(variable), atol=1e-6)
    bare = without_index(variable)
    assert len(decoded(front + bare + back)) == frames(bare)


def test_no_index_shifts_nothing(variable, constant, decoded):
    """With an index the encoder's delay is left out, 1105 samples; without one they stand in front."""
    for content in (variable, constant):
        bare, exact = decoded(without_index(content)), decoded(content)
        np.testing.assert_allclose(bare[1105 : 1105 + len(exact)], exact, atol=1e-5)


def test_joined(variable, constant, decoded):
    both = np.concatenate([decoded(variable), decoded(constant)])
    np.testing.assert_allclose(decoded(variable + constant), both, atol=1e-6)
    np.testing.assert_allclose(decoded(ID3V2 + variable + ID3V1 + ID3V2 + constant + ID3V1), both, atol=1e-6)
    bare = without_index(constant)
    assert len(decoded(variable + bare)) == len(decoded(variable)) + frames(bare)
    assert len(decoded(bare + variable)) == len(decoded(variable)) + frames(bare)
    assert len(decoded(bare + bare)) == 2 * frames(bare)


def test_joined_of_two_kinds(variable, encoded, decoded):
    with pytest.raises(UserError, match="24000 Hz with 1 channels"):
        decoded(variable + encoded("MP3", None, 20000, 24000))


@pytest.mark.parametrize("cut", [lambda c: c[: len(c) // 2], lambda c: c[:-1]], ids=["half", "byte"])
def test_cut(variable, decoded, cut):
    with pytest.raises(UserError, match=r"its index promises \d+ frames, it holds \d+"):
        decoded(cut(variable))
    with pytest.raises(UserError, match=r"truncated: the last frame needs \d+ bytes more"):
        decoded(cut(without_index(variable)))


def test_hole(variable, decoded):
    bare = without_index(variable)
    with pytest.raises(UserError, match=r"damaged: \d+ bytes from byte \d+ on are no sound"):
        decoded(bare[:3000] + b"\xaa" * 1000 + bare[4000:])


def test_index_without_number_or_of_another_kind(variable, decoded):
    """An index may lack the number of frames; Fraunhofer's has its own form, which the decoder takes for sound."""
    first = mpeg.frame_at(variable, 0)
    bare = without_index(variable)
    place = first.index_at + 4
    no_number = variable[:place] + struct.pack(">I", 0) + variable[place + 4 :]
    count = frames(bare) // (1152 if first.version == 1 else 576)
    vbri = variable[:4].ljust(36, b"\0") + b"VBRI" + struct.pack(">HHHII", 1, 0, 0, len(variable), count)
    for content in (no_number, vbri.ljust(first.size, b"\0") + bare):
        np.testing.assert_allclose(decoded(content), decoded(bare), atol=1e-6)
    with pytest.raises(UserError, match="its index promises"):
        decoded(vbri.ljust(first.size, b"\0") + bare[: len(bare) // 2])


@pytest.mark.parametrize(
    "head", [b"\xff\xfd\x84\xc0", b"\xff\xff\x84\xc0", b"\xff\xf5\x84\xc0"], ids=["II", "I", "II-2"]
)
def test_layers_without_index(decoded, head):
    frame = head.ljust(mpeg.frame_at(head, 0).size, b"\0")
    samples = 384 if mpeg.frame_at(head, 0).layer == 1 else 1152
    assert len(decoded(ID3V2 + 50 * frame + ID3V1)) == 50 * samples
    with pytest.raises(UserError, match="needs 20 bytes more"):
        decoded((50 * frame)[:-20])


def test_mp3_in_a_wav_file(encoded, decoded):
    content = encoded("MP3", None, 30000, 44100, **VARIABLE)
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44100, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)
    for body in (content, without_index(content)):
        head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(body))
        wav = b"RIFF" + struct.pack("<I", len(head) + len(body)) + head + body
        np.testing.assert_array_equal(decoded(wav), decoded(body))


def test_wrong_name(variable, decoded):
    np.testing.assert_array_equal(decoded(variable, "a.wav"), decoded(variable, "a.mp3"))
