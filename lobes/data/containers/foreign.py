"""What a file is that libsndfile cannot read, by its first bytes and not by its name, and what to do about it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

# What ffmpeg turns into a file that can be read here
CODED = {
    "an MPEG-4 file (m4a, mp4, mov, 3gp)": rb".{4}(?:ftyp|moov|mdat|wide|free|skip)",
    "a Matroska or WebM file": rb"\x1a\x45\xdf\xa3",
    "a Windows Media file (wma, wmv, asf)": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "an AMR file": rb"#!AMR",
    "an AAC stream": rb"\xff[\xf0\xf1\xf8\xf9]|ADIF",
    "an AC-3 stream": rb"\x0b\x77",
    "a DTS stream": rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80",
    "a Monkey's Audio file": rb"MAC ",
    "a WavPack file": rb"wvpk",
    "a DSD file": rb"DSD |FRM8",
    "a True Audio file": rb"TTA1",
    "a Musepack file": rb"MPCK|MP\+",
    "an OptimFROG file": rb"OFR ",
    "a RealMedia file": rb"\.RMF|\.ra\xfd",
    "a Flash video": rb"FLV\x01",
    "an AVI video": rb"RIFF.{4}AVI ",
    "a QCP file": rb"RIFF.{4}QLCM",
    "an MPEG program stream": rb"\x00\x00\x01\xba",
    "an MPEG transport stream": rb"G.{187}G",
    "a Shorten file": rb"ajkg",
}
# What libsndfile reads, but not this one
KNOWN = {
    "a WAV file": rb"(?:RIFF|RF64|RIFX|BW64).{4}WAVE|riff",
    "an AIFF file": rb"FORM.{4}AIF[FC]",
    "a CAF file": rb"caff",
    "an AU file": rb"\.snd",
    "a FLAC file": rb"fLaC",
    "an Ogg file": rb"OggS",
    "an MP3 file": rb"\xff[\xe0-\xff]|ID3",
}
NO_SOUND = {
    "is a Git LFS pointer, not the audio itself: fetch it with `git lfs pull`": rb"version https://git-lfs",
    "is a web page, not audio: the download failed, repeat it": rb"(?i)\s*<(?:!doctype html|html|head|body)",
    "is XML or JSON text, not audio: the download failed or this is another file": rb"\s*(?:<\?xml|<error|\{\s*\")",
    "is a NIST file compressed by Shorten: unpack it with `sph2pipe -f wav`": rb"NIST_1A.{,1024}embedded-shorten",
    "is an archive: unpack it first": rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd",
    "is MIDI: notes, no sound": rb"MThd",
    "is an image": rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF.{4}WEBP",
    "is a PDF document": rb"%PDF",
    "is an array of NumPy: write it as a WAV file": rb"\x93NUMPY",
}
HEADERLESS = {".raw", ".pcm"}
HEAD = 2048


def explain(path: str | os.PathLike[str], head: bytes, reason: str) -> str:
    """Say what a file is that could not be opened, and what to do; goes behind its name.

    Arguments
    ---------
    path : str or PathLike
        The file, for the command of ffmpeg.
    head : bytes
        Its first bytes, `HEAD` of them.
    reason : str
        What libsndfile said.

    Example
    -------
    >>> explain("a b.m4a", bytes(4) + b"ftypM4A ", "Format not recognised")
    "is an MPEG-4 file (m4a, mp4, mov, 3gp), not readable here. Convert it: ffmpeg -i 'a b.m4a' -ac 1 'a b.wav'"
    """
    for words, pattern in KNOWN.items():
        if re.match(pattern, head, re.DOTALL) and not other(path, head):
            what = f"{words} that libsndfile cannot decode, {reason}"
            return f"is not a readable audio file ({what}). Another decoder may: {command(path)}"
    if Path(os.fsdecode(path)).suffix.lower() in HEADERLESS:
        return f"has no header that says what it holds. Give it one: {command(path, '-f s16le -ar RATE')}"
    return other(path, head) or f"is not a readable audio file ({reason})"


def other(path: str | os.PathLike[str], head: bytes) -> str | None:
    """What a file is by its first bytes if it is of no kind that libsndfile reads, text included; otherwise None."""
    for words, pattern in NO_SOUND.items():
        if re.match(pattern, head, re.DOTALL):
            return words
    for words, pattern in CODED.items():
        if re.match(pattern, head, re.DOTALL):
            return f"is {words}, not readable here. Convert it: {command(path)}"
    text = bool(head) and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return "is not a readable audio file (it holds text)" if text else None


def command(path: str | os.PathLike[str], options: str = "") -> str:
    """The command of ffmpeg that converts a file to WAV with one channel, for the shell of this system.

    Example
    -------
    >>> command("-x.wav")
    'ffmpeg -i ./-x.wav -ac 1 ./-x-converted.wav'
    """
    source = os.fsdecode(path)
    if not source.isprintable():
        return "ffmpeg -i INPUT -ac 1 OUTPUT.wav"
    target = Path(source).with_suffix(".wav")
    if target.name.lower() == Path(source).name.lower():
        target = target.with_name(f"{target.stem}-converted.wav")
    words = ["ffmpeg", *options.split(), "-i", _no_option(source), "-ac", "1", _no_option(str(target))]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _no_option(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name
