"""Fuzz target: bytes of audio files, which are read whole and as they are, or refused."""

from __future__ import annotations

import io
import logging
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
from fuzz_changes import Rng, change_bytes

from lobes.data import audio

RATE, FRAMES = 8000, 1500
CODED = ("OGG", "MP3")  # several streams may follow each other
CHECKED = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3")  # the sample rate stands there twice
WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
# (format, subtype, channels, ending)
KINDS = (
    ("WAV", "PCM_16", 1, "wav"), ("WAV", "PCM_24", 2, "wav"), ("WAV", "FLOAT", 1, "wav"), ("WAV", "ULAW", 1, "wav"),
    ("WAV", "PCM_U8", 2, "wav"), ("WAVEX", "PCM_16", 1, "wav"), ("RF64", "PCM_16", 1, "wav"), ("W64", "PCM_16", 1,
    "w64"),
    ("AIFF", "PCM_16", 1, "aiff"), ("AIFF", "FLOAT", 2, "aifc"), ("AU", "PCM_16", 1, "au"), ("CAF", "PCM_16", 1, "caf"),
    ("SVX", "PCM_16", 1, "iff"), ("NIST", "PCM_16", 1, "sph"), ("VOC", "PCM_16", 1, "voc"), ("AVR", "PCM_16", 1, "avr"),
    ("MAT4", "DOUBLE", 1, "mat"), ("MAT5", "PCM_16", 1, "mat"), ("MPC2K", "PCM_16", 1, "mpc"),
    ("FLAC", "PCM_16", 1, "flac"), ("FLAC", "PCM_24", 2, "flac"), ("OGG", "VORBIS", 1, "ogg"), ("OGG", "OPUS", 1,
    "opus"),
    ("MP3", "MPEG_LAYER_III", 1, "mp3"),
)  # fmt: skip


class Case(NamedTuple):
    """A changed file."""

    kind: tuple[str, str, int, str]
    data: bytes
    what: str


class Target:
    """Files of all containers with a few bytes changed where they hold no samples."""

    name = "audio"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = _Warnings()
        logging.getLogger("lobes").addHandler(self.log)
        self.whole = {kind: written(kind, 0) for kind in KINDS}
        self.places = {kind: outside(kind) for kind in KINDS}

    @cached_property
    def model(self) -> Path:
        """An exported model for the command line."""
        from fuzz_models import make_export

        return make_export(self.folder / "model")

    def change(self, rng: Rng) -> Case:
        """One file of one container, changed."""
        kind = KINDS[int(rng.integers(len(KINDS)))]
        data, what = change_bytes(rng, self.whole[kind], self.places[kind])
        return Case(kind, data, f"{kind[0]} {kind[1]}: {what}")

    def write(self, case: Case, folder: Path) -> Path:
        """Put the file into a folder."""
        path = folder / f"changed.{case.kind[3]}"
        path.write_bytes(case.data)
        return path

    def run(self, case: Case) -> str:
        """Read the file: what is wrong with the result, or nothing."""
        path = self.write(case, self.folder)
        self.log.lines.clear()
        x, rate = audio.read(path)
        warned = bool(self.log.lines)
        info = audio.probe(path)
        want, subtype = read_plainly(self.whole[case.kind])
        if info.frames != len(x):
            return f"the header's length is {info.frames}, {len(x)} samples were read"
        if x.shape == want.shape and np.array_equal(x, want) and rate == RATE:
            return ""
        return "" if warned else judge(case, x, rate, info.subtype, want, subtype)

    def command(self, case: Case) -> list[str]:
        """The same on the command line."""
        return [
            "lobes",
            "separate",
            str(self.model),
            str(self.write(case, self.folder)),
            "-o",
            str(self.folder / "out"),
        ]


class _Warnings(logging.Handler):
    """Keeps what a user would read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def written(kind: tuple[str, str, int, str], seed: int) -> bytes:
    """The bytes of a file with noise of many levels."""
    format, subtype, channels, _ = kind
    x = np.random.default_rng(seed).uniform(-1, 1, (FRAMES, channels)) ** 3
    file = io.BytesIO()
    sf.write(file, x, RATE, subtype=subtype, format=format)
    return file.getvalue()


def outside(kind: tuple[str, str, int, str]) -> list[int]:
    """Where a file holds no samples: before the first, behind the last; of FLAC and Ogg every place has a checksum."""
    whole = written(kind, 0)
    if kind[0] in ("FLAC", "OGG"):
        return list(range(len(whole)))
    if kind[0] == "MP3":
        return [at + n for at in frames_of(whole) for n in range(4)]
    others = [np.frombuffer(written(kind, seed), np.uint8) for seed in range(1, 9)]
    first = np.frombuffer(whole, np.uint8)
    samples = np.flatnonzero(np.any([first != other for other in others], axis=0))
    return [*range(samples[0]), *range(samples[-1] + 1, len(first))]


def frames_of(data: bytes) -> list[int]:
    """Where the frames of an MP3 begin."""
    from lobes.data.containers.mpeg import frame_at

    at, found = 0, []
    while frame := frame_at(data, at):
        found.append(at)
        at += frame.size
    return found


def read_plainly(data: bytes) -> tuple[np.ndarray, str]:
    """What is in a file that is whole."""
    with sf.SoundFile(io.BytesIO(data)) as file:
        return file.read(dtype="float32"), file.subtype


def judge(case: Case, x: np.ndarray, rate: int, subtype: str, want: np.ndarray, was: str) -> str:
    """What is wrong with other samples than those of the whole file, or nothing where the header says no more.

    Coded streams may follow each other. A rate, and of AU, VOC and 8 bits the coding and channels, stand once in most
    headers: another one there makes another file, of which all bytes of samples must have been read.
    """
    container = case.kind[0]
    whole, rest = divmod(len(x), len(want))
    if container in CODED and not rest and np.array_equal(x, np.concatenate([want] * whole)):
        return ""
    same = subtype == was and np.array_equal(x.ravel(), want.ravel())
    if same and container not in CHECKED:
        return ""
    if same and container == "WAV" and int.from_bytes(case.data[28:32], "little") == 0:  # bytes a second: not known
        return ""
    used = x.size * WIDTHS.get(subtype, 0)
    if (container in ("AU", "VOC") or was == "ULAW") and abs(used - FRAMES * WIDTHS[was]) < 12:
        return ""
    return f"{x.shape} {rate} Hz {subtype} instead of {want.shape} {was}"
