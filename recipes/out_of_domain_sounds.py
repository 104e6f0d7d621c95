"""Sounds of a second test: languages, noises, rooms and recordings that no table on real speech trains on.

Speech: Polish by espeak-ng (24 voices, two sentences each), a recorded Polish speaker, and three speakers of the Free
Spoken Digit Dataset at 8 kHz, five digits in a row. Noise: synthesised scenes and events of kinds that the recordings
for training do not hold. Rooms: measured responses. T samples.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lobes.data import audio
from lobes.data.files import ENDING
from lobes.errors import UserError
from lobes.polsess.corpus.made_events import make_event
from lobes.polsess.corpus.made_scenes import make_scene
from lobes.polsess.corpus.made_speech import made_speech

SEED = 77
POLISH, DIGITS, RESPONSES = "speech/polish", "speech8k/fsdd", "rir/speechbrain"  # in the folder of recordings
# What follows the direct sound in rir2 is the noise of its recording: 40 % of that energy lies in the second half.
ROOMS = ("rir1.flac", "rir3.flac", "rir4.flac")
SYNTHESISED, RECORDED, SPOKEN_DIGITS = "Polish synthesised", "Polish recorded", "digits at 8 kHz"
KINDS = {"pl_": SYNTHESISED, "picovoice": RECORDED, "fsdd": SPOKEN_DIGITS}  # by the begin of a speaker's name
SCENES = ("street_traffic", "public_square", "cafe", "office", "car", "metro_station")
EVENTS = (
    "church_bells",
    "clock_alarm",
    "door_wood_knock",
    "car_horn",
    "siren",
    "keyboard_typing",
    "glass_breaking",
    "footsteps",
)
CLIPS = 4  # of each class of scenes and events
SENTENCES = 2  # of each synthesised voice
TAKES = 5  # of each digit and speaker; so many digits in a row, too
GAPS = (0.1, 0.3)  # seconds between digits
PIECE, SHORTEST = 4.0, 2.0  # seconds of a piece of a long recording
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PEAK = 0.95  # of noise; a key stroke may be louder
TABLE = "speech.csv"


class Utterance(NamedTuple):
    """Speech [T] of one speaker, and its words where they are English and known."""

    speaker: str
    samples: np.ndarray
    rate: int
    text: str = ""


def make_sounds(recordings: Path, folder: Path, rate: int) -> Path:
    """Write the sounds once: `speech/<speaker>/`, `scenes/<class>/`, `events/<class>/`, `rirs/`, and a table of speech.

    Arguments
    ---------
    recordings : Path
        The folder that `recordings.py` builds.
    folder : Path
        Gets its name when it is complete.
    rate : int
        Of the synthesised noise, in Hz; speech keeps its own.

    Raises
    ------
    UserError
        Where the folder of recordings was built before these were part of it, or espeak-ng is not installed.
    """
    if folder.is_dir():
        return folder
    missing = [name for name in (POLISH, DIGITS, RESPONSES) if not (recordings / name).is_dir()]
    if missing:
        raise UserError(
            f"{recordings}: no {', no '.join(missing)}, which the second test needs. `python ../recordings.py "
            f"{recordings}` adds what is missing."
        )
    draft = folder.with_name(folder.name + ENDING)
    shutil.rmtree(draft, ignore_errors=True)
    _write_speech(recordings, draft)
    for kind, classes, make in (("scenes", SCENES, make_scene), ("events", EVENTS, make_event)):
        for name in classes:
            for number in range(CLIPS):
                samples, _ = make(("test", name, number), SEED, rate)
                path = draft / kind / name / f"{number + 1:03d}.wav"
                audio.write(path, samples * min(1.0, PEAK / float(np.abs(samples).max())), rate)
    (draft / "rirs").mkdir()
    for name in ROOMS:
        shutil.copyfile(recordings / RESPONSES / name, draft / "rirs" / name)
    return draft.rename(folder)


def read_speech(sounds: Path) -> list[dict[str, str]]:
    """The table of speech: path below the folder, speaker, text."""
    with (sounds / TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kind_of(speakers: Sequence[str]) -> str:
    """What is spoken, and how it came to be: one of the three kinds, or several with + between.

    Example
    -------
    >>> kind_of(["pl_anna", "fsdd_george", "pl_jan"])
    'Polish synthesised + digits at 8 kHz'
    """
    found = {next(kind for begin, kind in KINDS.items() if name.startswith(begin)) for name in speakers}
    return " + ".join(sorted(found))


def _write_speech(recordings: Path, draft: Path) -> None:
    """Write all utterances as files of their speakers, and their table."""
    rows: list[dict[str, str]] = []
    for speaker, samples, rate, text in (*_synthesised(), *_polish(recordings), *_digits(recordings)):
        number = sum(row["speaker"] == speaker for row in rows) + 1
        path = f"speech/{speaker}/{number:03d}.wav"
        audio.write(draft / path, samples, rate)
        rows.append({"path": path, "speaker": speaker, "text": text})
    with (draft / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _synthesised() -> Iterator[Utterance]:
    """All voices of espeak-ng, those of each split with their own sentences."""
    for speakers in made_speech({"train": 1, "val": 1, "test": 1}, SEED).values():
        for speaker, clips in speakers.items():
            for clip in clips[:SENTENCES]:
                yield Utterance(speaker, *clip.load())


def _polish(recordings: Path) -> Iterator[Utterance]:
    """Pieces of the recorded speaker."""
    for file in sorted((recordings / POLISH).rglob("*.flac")):
        samples, rate = audio.read_mono_with_rate(file)
        size = round(PIECE * rate)
        for start in range(0, len(samples), size):
            piece = samples[start : start + size]
            if len(piece) >= SHORTEST * rate:
                yield Utterance(file.parent.name, piece, rate)


def _digits(recordings: Path) -> Iterator[Utterance]:
    """Digits of a speaker in random order, each recording once: `<digit>_<speaker>_<take>.flac`."""
    for number, folder in enumerate(sorted(path for path in (recordings / DIGITS).iterdir() if path.is_dir())):
        rng = np.random.default_rng([SEED, number])
        files = [folder / f"{digit}_{folder.name}_{take}.flac" for digit in range(10) for take in range(TAKES)]
        files = [files[index] for index in rng.permutation(len(files))]
        for start in range(0, len(files), TAKES):
            spoken = files[start : start + TAKES]
            text = " ".join(WORDS[int(file.name[0])] for file in spoken)
            yield Utterance(f"fsdd_{folder.name}", *_joined(spoken, rng), text)


def _joined(files: Sequence[Path], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Recordings of one rate after each other, with silence between."""
    read = [audio.read_mono_with_rate(file) for file in files]
    rate = read[0][1]
    parts = [part for samples, _ in read for part in (samples, np.zeros(int(rng.uniform(*GAPS) * rate), np.float32))]
    return np.concatenate(parts[:-1]), rate
