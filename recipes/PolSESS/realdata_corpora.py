"""The corpora of `realdata.py`: real recordings in PolSESS's format, one for task ES and one for SB.

Speakers, recordings and simulated rooms of the test are never heard in training.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lobes.data.files import ENDING

SPEECH = ("speech/librispeech", "speech/ljspeech", "speech/vctk")
# PolSESS scene class -> recordings. Home is indoors: its rooms are simulated for each mixture, as PolSESS does.
# Five measured responses are too few for three splits, and the test's rings 13 dB louder than its direct sound.
SCENES = {
    "home": ("noise/speech_commands/*", "noise/esc10/fire_crackling/*"),
    "beach": ("noise/esc10/sea_waves/*",),
    "park": ("noise/esc10/rain/*",),
    "residential_area": ("noise/esc10/helicopter/*",),
}
EVENTS = {name: (f"noise/esc10/{name}/*",) for name in ("dog_bark", "clock_tick", "chainsaw")}
# task -> seed of its corpus
CORPORA = {"ES": 11, "SB": 12}
COUNTS = {"train": 600, "val": 40, "test": 150}
INDOOR_SHARE = 0.5
SPLIT_NAMES = {"train": "train", "valid": "val", "test": "test"}


def make_data(data: Path, task: str, output: Path) -> Path:
    """Make the corpus of a task once; it gets its name when it is complete.

    Arguments
    ---------
    data : Path
        The folder of recordings with `manifest.csv` (path, split).
    task : str
        ES or SB.
    output : Path
        Gets `corpora/real_<task>`, which is returned.
    """
    from lobes.polsess.corpus import make_corpus

    name = f"real_{task.lower()}"
    finished = output / "corpora" / name
    if finished.is_dir():
        print(f"made before: {finished}")
        return finished
    draft = output / f"corpora{ENDING}"
    shutil.rmtree(draft, ignore_errors=True)
    made = make_corpus(
        draft,
        name=name,
        speech=[data / folder for folder in SPEECH],
        scenes=stage_sounds(data, SCENES, output / "sources" / "scenes"),
        events=stage_sounds(data, EVENTS, output / "sources" / "events"),
        counts=COUNTS,
        sample_rate=8000,
        seed=CORPORA[task],
        indoor_share=INDOOR_SHARE,
    )
    finished.parent.mkdir(parents=True, exist_ok=True)
    return Path(made).rename(finished)


def stage_sounds(data: Path, classes: Mapping[str, Sequence[str]], folder: Path) -> Path:
    """Link recordings as <split>/<class>/<file>, each in the split that the manifest gives it."""
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        split_of = {row["path"]: SPLIT_NAMES[row["split"]] for row in csv.DictReader(file)}
    shutil.rmtree(folder, ignore_errors=True)
    for name, patterns in classes.items():
        for file in sorted(path for pattern in patterns for path in data.glob(pattern)):
            target = folder / split_of[file.relative_to(data).as_posix()] / name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.symlink_to(file)
            except OSError:  # Windows without the right to make links
                shutil.copyfile(file, target)
    return folder


def in_words() -> str:
    """What a corpus holds."""
    return (
        f"{COUNTS['train']} training, {COUNTS['val']} valid, {COUNTS['test']} test mixtures of 4 s, "
        f"{INDOOR_SHARE:.0%} indoors. Speech: LibriSpeech and VCTK (training), LibriSpeech and LJ Speech (valid), "
        "LibriSpeech (test). Scenes: household recordings of Speech Commands, and ESC-10, as home, beach, park, "
        "residential_area. Events: dog, clock and chainsaw of ESC-10. Rooms are simulated. No speaker and no recording "
        "is in two splits."
    )
