"""Headers that contradict themselves: samples that are not what a header says are refused, the rest is said aloud."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError


def patched(content: bytes, at: int, form: str, value: int) -> bytes:
    field = struct.pack(form, value)
    return content[:at] + field + content[at + len(field) :]


REFUSED = {
    "channels of WAV": ("WAV", "PCM_16", lambda c: patched(c, 22, "<H", 3),
     "3 channels of 16 bits and 2 bytes a frame"),
    "bits of WAV": ("WAV", "PCM_16", lambda c: patched(c, 34, "<H", 8), "1 channels of 8 bits and 2 bytes a frame"),
    "coding of WAV": ("WAV", "ULAW", lambda c: patched(c, 20, "<H", 0x40), "8 bits in a coding that has fewer"),
    "channels of WAVEX": ("WAVEX", "PCM_16", lambda c: patched(c, 22, "<H", 2), "2 channels of 16 bits"),
    "channels of W64": ("W64", "PCM_16", lambda c: patched(c, c.index(b"fmt ") + 26, "<H", 2), "2 channels of 16 bits"),
    "channels of AIFF": ("AIFF", "PCM_16", lambda c: patched(c, c.index(b"COMM") + 8, ">H", 2),
     "4000 frames of 4 bytes"),
    "frames of AIFF": ("AIFF", "PCM_16", lambda c: patched(c, c.index(b"COMM") + 10, ">I", 2000),
     "2000 frames of 2 bytes"),
    "channels of CAF": ("CAF", "PCM_16", lambda c: patched(c, c.index(b"desc") + 36, ">I", 2), "2 channels of 16 bits"),
    "start of AU": ("AU", "PCM_16", lambda c: patched(patched(c, 4, ">I", 2024), 8, ">I", 6000), "no text alone"),
    "count of NIST": ("NIST", "PCM_16", lambda c: c.replace(b"sample_count", b"sample_count"[::-1]), "no sample_count"),
    "length of NIST": ("NIST", "PCM_16", lambda c: patched(c, 13, "<B", ord("p")), "does not say how long it is"),
    "count of AVR": ("AVR", "PCM_16", lambda c: patched(c, 26, ">I", 0), "its header counts no samples"),
    "channels of MAT5": ("MAT5", "PCM_16", lambda c: patched(c, c.index(b"wavedata") - 16, "<I", 3),
     "3 x 4000 numbers"),
    "name in MAT4": ("MAT4", "PCM_16", lambda c: c.replace(b"wavedata", b"wavedate"), "no matrix wavedata"),
    "rate of FLAC": ("FLAC", "PCM_16", lambda c: patched(c, 19, "<B", c[19] ^ 64), "its frames 8000 Hz"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_A09_a_header_that_cannot_be(encoded, decoded, case):
    container, subtype, change, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        decoded(change(encoded(container, subtype)))


SAID = {
    "rate of WAV": (
        "WAV",
        lambda c: patched(c, 24, "<I", 8192),
        "8192 Hz, and 16000 bytes a second, which are 8000 Hz",
    ),
    "bytes behind the samples": ("WAV", lambda c: c + b"\xaa" * 40, "40 bytes behind the samples are of no known kind"),
    "a byte too many": ("WAV", lambda c: patched(c, 40, "<I", 7999), "7999 bytes of samples"),
    "bytes in the header of AVR": ("AVR", lambda c: c[:70] + b"xxxx" + c[70:], "4 bytes behind the samples"),
    "frames of AIFF": ("AIFF", lambda c: patched(c, c.index(b"COMM") + 10, ">I", 3999), "3999 frames of 2 bytes"),
}


@pytest.mark.parametrize("case", SAID)
def test_A09_what_may_be_meant_otherwise_is_said(encoded, tmp_path, caplog, case):
    container, change, words = SAID[case]
    (tmp_path / "a.bin").write_bytes(change(encoded(container, "PCM_16")))
    with caplog.at_level(logging.WARNING):
        audio.read(tmp_path / "a.bin")
    assert words in caplog.text and all("a.bin: " in message for message in caplog.messages)


def test_A09_a_whole_file_is_read_without_a_word(encoded, tmp_path, caplog):
    for container in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "VOC", "AVR", "MAT5", "FLAC", "MP3"):
        path = tmp_path / f"a.{container.lower()}"
        path.write_bytes(encoded(container))
        assert len(audio.read(path)[0]) == 4000
    assert not caplog.messages


@pytest.mark.parametrize("place", ["channels in the index", "a wrong head behind it", "another checksum"])
def test_A09_an_mp3_whose_index_is_lost_is_refused(encoded, decoded, place):
    content = encoded("MP3")
    at = {"channels in the index": 3, "a wrong head behind it": 289, "another checksum": 577}[place]
    change = {"channels in the index": 0x80, "a wrong head behind it": 0xFF, "another checksum": 1}[place]
    assert len(decoded(content)) == 4000
    with pytest.raises(UserError, match="index"):
        decoded(patched(content, at, "<B", content[at] ^ change))


def test_A09_bytes_behind_the_last_frame_are_said(encoded, tmp_path, caplog):
    (tmp_path / "a.mp3").write_bytes(encoded("MP3") + b"\xaa" * 9)
    assert len(audio.read(tmp_path / "a.mp3")[0]) == 4000
    assert "9 bytes behind the last frame" in caplog.text


@pytest.mark.parametrize("name", ["a.au", "a.vox"])
def test_A09_samples_without_a_header_are_said(tmp_path, caplog, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(4000))
    audio.read(tmp_path / name)
    assert f"{name}: has no header, or a damaged one" in caplog.text


def test_A10_a_flac_header_of_2_to_the_36_samples_takes_no_memory(encoded, decoded):
    import tracemalloc

    content = encoded("FLAC", "PCM_16")
    field = int.from_bytes(content[18:26], "big") | (1 << 36) - 1
    tracemalloc.start()
    with pytest.raises(UserError, match="the header promises 68719476735 samples, the last frame ends at 4000"):
        decoded(content[:18] + field.to_bytes(8, "big") + content[26:])
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
