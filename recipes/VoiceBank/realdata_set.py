"""A set in VoiceBank-DEMAND's layout from real recordings: six pairs of VoiceBank itself, and speech mixed with noise.

The pairs of p287 are for validation, as in the full set. All others are mixed: pieces of real speech with real noise,
at VoiceBank's levels. No speaker and no recording of noise is in two of the three splits. T samples.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data import audio
from lobes.data.files import ENDING
from lobes.errors import UserError

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "realdata"
RATE = 16000
PIECE, SHORTEST = 4 * RATE, 2 * RATE  # samples of a piece of speech
TRAIN_SNRS, TEST_SNRS = (0.0, 5.0, 10.0, 15.0), (2.5, 7.5, 12.5, 17.5)  # dB, as in VoiceBank-DEMAND
SNRS = {"train": TRAIN_SNRS, "valid": TRAIN_SNRS, "test": TEST_SNRS}
REPEATS = {"train": 4, "valid": 1, "test": 2}  # mixtures of a piece, each with another noise
MOST = {"train": 900, "valid": 24, "test": 60}
FOLDERS = {"train": "trainset_28spk_wav", "valid": "trainset_28spk_wav", "test": "testset_wav"}
REAL = "p287"
PEAK = 0.95
SET_SEED = 21  # of the set that the tables are made with

Row = dict[str, str]


def make_set(data: Path, target: Path, seed: int) -> list[str]:
    """Write the four folders of the set once.

    Arguments
    ---------
    data : Path
        The folder of recordings with `manifest.csv` (path, kind, speaker, split).
    target : Path
        Gets its name when it is complete.
    seed : int
        The same seed gives the same files.

    Returns
    -------
    list of str
        The speakers that are kept for validation.
    """
    rows = read_manifest(data)
    draft = target.with_name(target.name + ENDING)
    if not target.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
        for split in FOLDERS:
            for name, clean, noisy in mixtures(data, rows, split, np.random.default_rng([seed, len(split)])):
                write_pair(draft, split, name, clean, noisy)
        for name, clean, noisy in real_pairs(data):
            write_pair(draft, "valid", name, clean, noisy)
        draft.rename(target)
    held_out = {name_of(row["speaker"]) for row in rows if row["kind"] == "speech" and row["split"] == "valid"}
    written = {path.name.split("_")[0] for path in (target / f"noisy_{FOLDERS['valid']}").glob("*.wav")}
    return sorted((held_out | {REAL}) & written)


def find_recordings(folder: Path | None) -> Path:
    """Check that the folder is the one that is meant; without one, take the default."""
    if folder is None and RECORDINGS.is_dir():
        folder = RECORDINGS
    if folder is None or not (folder / "manifest.csv").is_file():
        found = "--recordings is missing" if folder is None else f"{folder}: no manifest.csv"
        raise UserError(
            f"{found}. Give --recordings FOLDER: real recordings, voicebank/clean, voicebank/noisy, and a manifest.csv "
            "with the columns path, kind, speaker, split and sample_rate. `python ../recordings.py FOLDER` builds it "
            "from public sources."
        )
    return folder.resolve()


def read_manifest(data: Path) -> list[Row]:
    """The rows of the recordings' manifest."""
    with (find_recordings(data) / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mixtures(
    data: Path, rows: Sequence[Row], split: str, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, clean speech [T] and noisy speech [T] of a split's mixtures."""
    wanted = [row for row in rows if row["split"] == split and row["sample_rate"] == str(RATE)]
    noises = [audio.read_mono(data / row["path"], RATE) for row in wanted if row["kind"].startswith("noise")]
    pieces = [piece for row in wanted if row["kind"] == "speech" for piece in pieces_of(data, row)]
    shares = np.array([len(noise) for noise in noises]) ** 0.5  # long recordings more often, but not by their length
    count: dict[str, int] = {}
    for index in rng.permutation(len(pieces) * REPEATS[split])[: MOST[split]]:
        speaker, clean = pieces[index % len(pieces)]
        noise = noises[rng.choice(len(noises), p=shares / shares.sum())]
        snr = SNRS[split][rng.integers(len(SNRS[split]))]
        count[speaker] = count.get(speaker, 0) + 1
        yield f"{speaker}_{count[speaker]:03d}", *mix(clean, excerpt(noise, len(clean), rng), snr)


def pieces_of(data: Path, row: Row) -> list[tuple[str, np.ndarray]]:
    """Cut a recording into pieces of at most four seconds: (speaker, samples)."""
    samples = audio.read_mono(data / row["path"], RATE)
    cuts = [samples[start : start + PIECE] for start in range(0, len(samples), PIECE)]
    return [(name_of(row["speaker"]), cut) for cut in cuts if len(cut) >= SHORTEST]


def name_of(speaker: str) -> str:
    """A speaker's name as the part of a file's name before the first underscore."""
    return speaker.replace("_", "-")


def excerpt(noise: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A stretch of a noise from a random place; a short noise starts again at its end."""
    return np.roll(noise, -int(rng.integers(len(noise))))[np.arange(samples) % len(noise)]


def mix(clean: np.ndarray, noise: np.ndarray, snr: float) -> tuple[np.ndarray, np.ndarray]:
    """Add noise at a ratio in dB over the whole piece; both are turned down where the sum would clip."""
    power, noise_power = (float(np.square(x, dtype=np.float64).mean()) for x in (clean, noise))
    noisy = clean + noise * np.sqrt(power / max(noise_power, 1e-12) * 10 ** (-snr / 10))
    gain = min(1.0, PEAK / float(np.abs(noisy).max()))
    return clean * gain, noisy * gain


def real_pairs(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """VoiceBank-DEMAND's own pairs."""
    for path in sorted((data / "voicebank" / "clean").glob("*.wav")):
        yield path.stem, audio.read_mono(path, RATE), audio.read_mono(data / "voicebank" / "noisy" / path.name, RATE)


def write_pair(folder: Path, split: str, name: str, clean: np.ndarray, noisy: np.ndarray) -> None:
    """Write both files of a pair."""
    for kind, samples in (("clean", clean), ("noisy", noisy)):
        audio.write(folder / f"{kind}_{FOLDERS[split]}" / f"{name}.wav", samples, RATE)


def describe(folder: Path, held_out: Sequence[str]) -> dict[str, Any]:
    """Number of pairs and speakers of each split."""
    found: dict[str, Any] = {}
    for split, name in FOLDERS.items():
        files = [path.name.split("_")[0] for path in (folder / f"noisy_{name}").glob("*.wav")]
        speakers = [t for t in files if split == "test" or (t in held_out) == (split == "valid")]
        found[split] = {"pairs": len(speakers), "speakers": len(set(speakers))}
    return found


def in_words(folder: Path, held_out: Sequence[str]) -> str:
    """What the set holds."""
    found = describe(folder, held_out).items()
    sizes = ", ".join(f"{split} {of['pairs']} pairs of {of['speakers']} speakers" for split, of in found)
    return (
        f"{sizes}. Speech: LibriSpeech and VCTK (training), LibriSpeech, LJ Speech and VoiceBank-DEMAND's own six "
        "pairs of p287 (valid), LibriSpeech (test). Noise: household recordings of Speech Commands, and ESC-10. "
        "Training at 0, 5, 10 and 15 dB, test at 2.5, 7.5, 12.5 and 17.5 dB. No speaker and no recording is in two "
        "splits."
    )
