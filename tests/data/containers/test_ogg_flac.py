"""Ogg and FLAC: streams behind each other, unknown lengths, missing pages, last frames."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError

OGG = [("VORBIS", 44100), ("VORBIS", 8000), ("OPUS", 48000), ("OPUS", 8000)]
ID3 = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)


def pages(content: bytes) -> list[int]:
    """Offsets of the pages, and the end."""
    starts = [0]
    while starts[-1] < len(content):
        at = starts[-1]
        starts.append(at + 27 + content[at + 26] + sum(content[at + 27 : at + 27 + content[at + 26]]))
    return starts


@pytest.mark.parametrize(("subtype", "rate"), OGG)
def test_streams_behind_each_other(encoded, decoded, subtype, rate):
    first, second = (encoded("OGG", subtype, frames, rate, seed=frames) for frames in (60000, 30000))
    np.testing.assert_array_equal(decoded(first + second), np.concatenate([decoded(first), decoded(second)]))
    other = encoded("OGG", subtype, 4000, rate, channels=2)
    with pytest.raises(UserError, match="holds streams of"):
        decoded(first + other)


@pytest.mark.parametrize(("subtype", "rate"), OGG)
def test_pages(encoded, decoded, caplog, subtype, rate):
    content = encoded("OGG", subtype, 100000, rate)
    at = pages(content)
    assert len(decoded(content)) == len(decoded(content + b"\0")) == len(decoded(content + b"\xaa" * 500)) == 100000
    with pytest.raises(UserError, match=rf"truncated: the page at byte {at[-2]} needs 10 bytes more"):
        decoded(content[:-10])
    with pytest.raises(UserError, match="damaged: page 3 is missing"):
        decoded(content[: at[3]] + content[at[4] :])
    middle = (at[2] + at[3]) // 2
    with pytest.raises(UserError, match="wrong checksum"):
        decoded(content[:middle] + bytes(8) + content[middle + 8 :])
    with pytest.raises(UserError, match=f"expected a page at byte {at[3]}"):
        decoded(content[: at[3]] + b"x" * 100 + content[at[3] :])
    caplog.clear()
    assert 0 < len(decoded(content[: at[-2]])) < 100000  # nothing says whether it was cut
    assert "the stream has no last page" in caplog.text


def with_total(content: bytes, total: int) -> bytes:
    field = int.from_bytes(content[18:26], "big") >> 36 << 36 | total
    return content[:18] + field.to_bytes(8, "big") + content[26:]


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("frames", [100, 4096, 60000])
def test_flac_of_unknown_length(encoded, decoded, subtype, frames):
    content = encoded("FLAC", subtype, frames, channels=2)
    for tag in (b"", b"TAG" + bytes(125)):
        np.testing.assert_array_equal(decoded(with_total(content, 0) + tag), decoded(content))
    with pytest.raises(UserError, match="ends within a frame"):
        decoded(with_total(content, 0)[: 3 * len(content) // 4])


@pytest.mark.parametrize("total", [50000, 70000])
def test_flac_of_another_length_than_promised(encoded, decoded, total):
    content = with_total(encoded("FLAC", None, 60000), total)
    with pytest.raises(UserError, match=f"promises {total} samples, the last frame ends at 60000"):
        decoded(content)


@pytest.mark.parametrize("lost", [1, 30000, 60000])
def test_cut_flac(encoded, decoded, lost):
    with pytest.raises(UserError, match="damaged|truncated"):
        decoded(encoded("FLAC", None, 60000)[:-lost])


@pytest.mark.parametrize("copies", [2, 3, 4, 5])
@pytest.mark.parametrize("frames", [3000, 60000])
def test_flac_streams_of_one_length(tmp_path, encoded, copies, frames):
    """The last frame is then where the header says; `probe` sees it without a look at every byte."""
    (tmp_path / "a.flac").write_bytes(copies * encoded("FLAC", None, frames))
    with pytest.raises(UserError, match="a second stream begins"):
        audio.probe(tmp_path / "a.flac")


def test_flac_with_tags_of_mp3(encoded, decoded):
    content = encoded("FLAC", None, 6000)
    np.testing.assert_array_equal(decoded(ID3 + content + b"TAG" + bytes(125)), decoded(content))
    np.testing.assert_array_equal(decoded(ID3 + with_total(content, 0)), decoded(content))
