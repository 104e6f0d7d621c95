"""What libsndfile cannot read is named by its content, with the command that converts it."""

from __future__ import annotations

import os
import shlex

import pytest

from lobes.data import audio
from lobes.data.containers import ogg, whole
from lobes.data.containers.foreign import command
from lobes.errors import UserError

MP4 = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(100)
CODED = {
    "m4a": (MP4, "an MPEG-4 file"),
    "mov": (b"\0\0\0\x14ftypqt  " + bytes(100), "an MPEG-4 file"),
    "old.mov": (b"\0\0\0\x08wide\0\0\1\0mdat" + bytes(100), "an MPEG-4 file"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81" + bytes(100), "a Matroska or WebM file"),
    "wma": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9" + bytes(100), "a Windows Media file"),
    "amr": (b"#!AMR\n" + bytes(100), "an AMR file"),
    "aac": (b"\xff\xf1\x50\x80\x03\x1f\xfc" + bytes(100), "an AAC stream"),
    "ac3": (b"\x0b\x77\x00\x00" + bytes(100), "an AC-3 stream"),
    "ape": (b"MAC \x96\x0f" + bytes(100), "a Monkey's Audio file"),
    "wv": (b"wvpk" + bytes(100), "a WavPack file"),
    "dsf": (b"DSD \x1c" + bytes(100), "a DSD file"),
    "avi": (b"RIFF\x00\x10\0\0AVI LIST" + bytes(100), "an AVI video"),
    "codec.wav": (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x61\1\1\0" + bytes(12) + b"data\0\0\0\0", "a WAV file"),
}
NO_SOUND = {
    "pointer.wav": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "page.wav": (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "web page.*download failed"),
    "answer.wav": (b'{"error": "not found"}', "XML or JSON"),
    "text.wav": (b"this is not audio", "it holds text"),
    "packed.wav": (b"PK\x03\x04" + bytes(50), "archive"),
    "picture.wav": (b"\x89PNG\r\n\x1a\n" + bytes(50), "image"),
    "notes.mid": (b"MThd\0\0\0\6" + bytes(50), "MIDI"),
    "shorten.sph": (b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n".ljust(1200), "sph2pipe"),
}


@pytest.mark.parametrize("name", CODED)
def test_T2_10_other_codecs_name_the_command(tmp_path, name):
    content, words = CODED[name]
    path = tmp_path / f"a 'b.{name}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        audio.read(path)
    said = str(caught.value)
    assert said.startswith(str(path)) and "\n" not in said
    words = shlex.split(said[said.index("ffmpeg") :].removesuffix("."))
    assert words[:3] == ["ffmpeg", "-i", str(path)] and words[3:5] == ["-ac", "1"]
    assert words[5].endswith(".wav") and words[5] != str(path)


@pytest.mark.parametrize("name", NO_SOUND)
def test_what_is_no_sound(tmp_path, name):
    content, words = NO_SOUND[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        audio.read(tmp_path / name)


def test_content_and_not_name(tmp_path):
    (tmp_path / "video.wav").write_bytes(MP4)
    with pytest.raises(UserError, match=r"an MPEG-4 file.*video-converted\.wav"):
        audio.probe(tmp_path / "video.wav")


def test_ogg_of_another_codec(tmp_path, encoded):
    content = encoded("OGG", "VORBIS").replace(b"vorbis", b"Speex ")
    first = content[:58]
    sum_ = ogg.checksum(first[:22] + bytes(4) + first[26:]).to_bytes(4, "little")
    (tmp_path / "a.spx").write_bytes(first[:22] + sum_ + first[26:])
    with pytest.raises(UserError, match=r"an Ogg file that libsndfile cannot decode.*ffmpeg -i .*a\.spx"):
        audio.read(tmp_path / "a.spx")


@pytest.mark.parametrize("ending", ["vox", "gsm", "au", "snd"])
def test_names_of_samples_without_header(tmp_path, ending):
    """libsndfile takes any content for samples there."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"<!DOCTYPE html>" + b"a page that is long enough for some samples" * 50)
    with pytest.raises(UserError, match="web page"):
        audio.read(path)
    path.write_bytes(bytes(range(256)) * 20)
    assert len(audio.read(path)[0]) > 1000


def test_raw(tmp_path, encoded):
    (tmp_path / "a.raw").write_bytes(encoded("WAV", "PCM_16"))
    assert len(audio.read(tmp_path / "a.raw")[0]) == 4000
    (tmp_path / "a.raw").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(UserError, match=r"no header.*ffmpeg -f s16le -ar RATE -i .*a\.raw -ac 1"):
        audio.read(tmp_path / "a.raw")


def test_command_for_odd_names():
    assert command("-rf.m4a") == "ffmpeg -i ./-rf.m4a -ac 1 ./-rf.wav"
    assert command("a\nb.m4a") == "ffmpeg -i INPUT -ac 1 OUTPUT.wav"
    assert command("ż b.MP4") == "ffmpeg -i 'ż b.MP4' -ac 1 'ż b.wav'"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_and_device(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", "/dev/null"):
        with pytest.raises(UserError, match="is a pipe or a device, expected a file"):
            audio.read(path)


def test_no_permission(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(MP4)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(whole, "views", refuse)
    with pytest.raises(UserError, match=r"a\.wav: cannot be read \(Permission denied\)"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"this is not audio\n" * 200])
def test_what_is_no_mp3_is_one_line_and_the_decoder_says_nothing(tmp_path, capfd, content):
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(UserError, match="web page|text"):
        audio.read(path)
    assert capfd.readouterr().err == ""
