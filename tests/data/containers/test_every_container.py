"""Every container of libsndfile: a whole file is read equal; a cut, joined or unfinished one is whole or refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile as sf

from lobes.errors import UserError

LOSSLESS = {"PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
CUT_UNSEEN = {"PVF", "PAF", "IRCAM", "XI"}  # their headers do not say how long they are
# libsndfile writes them and cannot read them: a part of the header is elsewhere, or a seek fails; RAW has no header
UNREADABLE = {("SD2", None), ("RAW", None), ("AIFF", "DWVW_12"), ("AIFF", "DWVW_16"), ("AIFF", "DWVW_24")}
UNWRITTEN = {("MP3", "MPEG_LAYER_I"), ("MP3", "MPEG_LAYER_II"), ("WAV", "MPEG_LAYER_III"), ("WAV", "G723_24")}
KINDS = [
    (container, subtype)
    for container in sf.available_formats()
    for subtype in sf.available_subtypes(container)
    if not {(container, subtype), (container, None)} & (UNREADABLE | UNWRITTEN)
]
ONE_OF_EACH = list({container: (container, subtype) for container, subtype in reversed(KINDS)}.values())


def rate_of(subtype: str) -> int:
    return 48000 if subtype == "OPUS" else 8000


@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_whole_file(encoded, decoded, plain, container, subtype):
    content = encoded(container, subtype, rate=rate_of(subtype))
    samples = decoded(content)
    np.testing.assert_allclose(samples, plain(content), atol=1e-6)
    assert 4000 <= len(samples) <= 4480, "codecs of fixed blocks fill up the last one"
    if subtype in LOSSLESS and container != "SDS":  # libsndfile does not write the last samples of an SDS file
        source = np.random.default_rng(0).uniform(-0.3, 0.3, 4000)
        np.testing.assert_allclose(samples, source, atol=2**-14)


@pytest.mark.parametrize("share", [0.9, 0.5])
@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_A08_cut_file(encoded, decoded, container, subtype, share):
    content = encoded(container, subtype, rate=rate_of(subtype))
    cut = content[: int(share * len(content))]
    if container in CUT_UNSEEN:
        assert len(decoded(cut)) < 4000
        return
    with pytest.raises(UserError, match=r"truncated|damaged|not recognised|libsndfile cannot decode"):
        decoded(cut)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "SVX", "VOC", "AVR"])
def test_a_cut_names_both_numbers(encoded, decoded, container):
    content = encoded(container, "PCM_16")
    with pytest.raises(UserError, match=r"promises 8000 bytes of samples, it holds \d+\."):
        decoded(content[:-1000])


@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_joined_files(encoded, decoded, container, subtype):
    """`cat a b`: streams of MP3 and Ogg follow each other by their standards, the others do not."""
    content = encoded(container, subtype, rate=rate_of(subtype))
    if container in ("MP3", "OGG"):
        np.testing.assert_array_equal(decoded(content + content), np.tile(decoded(content), 2))
        return
    with pytest.raises(UserError, match=r"second|several blocks|does not explain|not recognised|incompatible"):
        decoded(content + content)


@pytest.mark.parametrize(("container", "subtype"), ONE_OF_EACH)
def test_joined_files_of_two_lengths(encoded, decoded, container, subtype):
    first, second = (encoded(container, subtype, frames, rate_of(subtype)) for frames in (4000, 6000))
    if container in ("MP3", "OGG"):
        assert len(decoded(first + second)) == 10000
        return
    with pytest.raises(UserError):
        decoded(first + second)


def patched(content: bytes, at: int, form: str, value: int) -> bytes:
    field = struct.pack(form, value)
    return content[:at] + field + content[at + len(field) :]


UNFINISHED = {
    "AU": (lambda c: 8, ">I", (0, 0xFFFFFFFF, 0x7FFFF000)),
    "AIFF": (lambda c: c.index(b"SSND") + 4, ">I", (0, 8, 0x7F000008, 0xFFFFFFFF, 0x7FFFFFFF)),
    "CAF": (lambda c: c.index(b"data") + 4, ">q", (-1, 0, 4)),
    "RF64": (lambda c: c.index(b"ds64") + 16, "<Q", (0, 0xFFFFFFFF, 2**64 - 1)),
    "W64": (lambda c: c.index(b"data\xf3") + 16, "<Q", (0, 24, 2**63 - 1, 2**64 - 1)),
}


@pytest.mark.parametrize(("container", "value"), [(name, v) for name, (_, _, vs) in UNFINISHED.items() for v in vs])
def test_a_size_that_was_never_filled_in(encoded, decoded, container, value):
    content = encoded(container, "PCM_16")
    place, form, _ = UNFINISHED[container]
    unfinished = patched(content, place(content), form, value)
    np.testing.assert_array_equal(decoded(unfinished), decoded(content))


@pytest.mark.parametrize("container", UNFINISHED)
def test_unfinished_files_joined(encoded, decoded, container):
    content = encoded(container, "PCM_16")
    place, form, values = UNFINISHED[container]
    with pytest.raises(UserError, match="second recording"):
        decoded(2 * patched(content, place(content), form, values[-1]))


@pytest.mark.parametrize("container", ["AU", "AIFF", "CAF", "W64", "NIST", "AVR"])
def test_a_size_smaller_than_what_follows(encoded, decoded, container):
    """A recorder that wrote its header half-way and was stopped: refused, never shortened."""
    content = encoded(container, "PCM_16")
    if container == "NIST":
        small = content.replace(b"sample_count -i 4000", b"sample_count -i 2000")
    else:
        size, frames = {"AIFF": (4008, 0), "CAF": (4004, 0), "W64": (4024, 0), "AVR": (0, 2000)}.get(
            container, (4000, 0)
        )
        place, form, _ = UNFINISHED.get(container, (lambda c: 26, ">I", ()))
        small = patched(content, place(content), form, size or frames)
    with pytest.raises(UserError, match="does not explain"):
        decoded(small)


def test_chunks_behind_the_samples_are_no_samples(encoded, decoded):
    """libsndfile takes what follows in a Wave64 file for sound."""
    guid = b"levl\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    content = encoded("W64", "PCM_16")
    np.testing.assert_array_equal(decoded(content + guid + struct.pack("<Q", 88) + b"\1" * 64), decoded(content))
    voice = encoded("AIFF", "PCM_16")
    np.testing.assert_array_equal(decoded(voice + b"NAME\0\0\0\3abc\0"), decoded(voice))
