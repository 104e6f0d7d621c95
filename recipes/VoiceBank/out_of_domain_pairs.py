"""The second test of `realdata.py`: pairs at the levels of the first one, but foreign in all else. T samples.

Every second mixture of a speaker is heard in a measured room. Its target is the speech in that room: the models were
trained to take noise away, and no reverberation.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from out_of_domain_sounds import RECORDED, SEED, kind_of, make_sounds, read_speech
from realdata_set import RATE, TEST_SNRS, excerpt, mix, name_of

from lobes.data import audio
from lobes.data.files import ENDING
from lobes.data.manifest import write_manifest
from lobes.data.rates import resample
from lobes.polsess.corpus.rooms import MeasuredRooms

REPEATS = {RECORDED: 3}  # mixtures of an utterance where there is more than one, each with another noise
MANIFEST = "test.csv"
DESCRIPTION = (
    "Second test, which neither training nor the choice of a checkpoint sees: {pairs} pairs of {speakers} speakers. "
    "**Language and recording**: Polish of 24 voices of the synthesiser espeak-ng, Polish of one recorded speaker, and "
    "English digits of three speakers (FSDD) whose recordings end at 4 kHz; the first test is read English at 16 kHz. "
    "**Noise**: synthesised street, square, cafe, office, car and station, kinds of which training holds none. "
    "**Room**: every second mixture is heard in one of three measured rooms (SpeechBrain's responses), and its target "
    "is the speech in that room. Levels are those of the first test: 2.5, 7.5, 12.5 and 17.5 dB. So little is "
    "recorded that most of it is made: what holds for synthesised speech alone can be seen in the last table."
)

Mixture = tuple[dict[str, str], np.ndarray, np.ndarray]


def make_manifest(recordings: Path, output: Path) -> Path:
    """Write the pairs and their manifest once, and return the manifest.

    Arguments
    ---------
    recordings : Path
        The folder that `recordings.py` builds.
    output : Path
        Gets `out_of_domain/pairs/` when that is complete.
    """
    folder = output / "out_of_domain" / "pairs"
    if not folder.is_dir():
        sounds = make_sounds(recordings, folder.with_name("sounds"), RATE)
        draft = folder.with_name(folder.name + ENDING)
        shutil.rmtree(draft, ignore_errors=True)
        write_manifest(draft / MANIFEST, [_write(draft, *mixture) for mixture in mixtures(sounds)])
        draft.rename(folder)
    return folder / MANIFEST


def mixtures(sounds: Path) -> Iterator[Mixture]:
    """The facts of each mixture, its clean [T] and its noisy signal [T]."""
    rng = np.random.default_rng(SEED)
    noises = [(file.parent.name, audio.read_mono(file, RATE)) for file in sorted((sounds / "scenes").glob("*/*.wav"))]
    rooms = MeasuredRooms({"test": sorted((sounds / "rirs").glob("*.flac"))}, RATE)
    count: dict[str, int] = {}
    for row in read_speech(sounds):
        dry, speaker = resample(*audio.read_mono_with_rate(sounds / row["path"]), RATE), row["speaker"]
        for _ in range(REPEATS.get(kind_of([speaker]), 1)):
            count[speaker] = number = count.get(speaker, 0) + 1
            in_room = number % 2 == 0
            clean = dry + rooms.draw("test", "", rng).wet(dry, 0) if in_room else dry
            scene, noise = noises[rng.integers(len(noises))]
            snr = TEST_SNRS[rng.integers(len(TEST_SNRS))]
            facts = {"ID": f"{name_of(speaker)}_{number:03d}", "speaker": speaker, "text": row["text"]}
            facts |= {"speech": kind_of([speaker]), "room": "measured" if in_room else "none", "noise": scene}
            yield facts, *mix(clean, excerpt(noise, len(clean), rng), snr)


def _write(folder: Path, facts: dict[str, str], clean: np.ndarray, noisy: np.ndarray) -> dict[str, str]:
    """Write both files of a pair; the row of the manifest."""
    paths = {"mix_wav": f"noisy/{facts['ID']}.wav", "s1_wav": f"clean/{facts['ID']}.wav"}
    for column, samples in (("mix_wav", noisy), ("s1_wav", clean)):
        audio.write(folder / paths[column], samples, RATE)
    return {**facts, **paths, "duration": f"{len(clean) / RATE:g}"}
