#!/usr/bin/env python3
"""How long does it take to evaluate existing outputs for a test set of the size of VoiceBank-DEMAND's?

> python benchmarks/evaluation.py [--files 824] [--workers 2]

Pairs of synthetic voices and noise at 16 kHz, 2.5 s long on average as that test set's, and a folder with the output
of some enhancement for each. `lobes evaluate outputs:FOLDER` scores outputs and mixtures with PESQ, STOI and SI-SDR.
The same call is then stopped in the middle and called again, which must give the same table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import RESULTS, about, result_file, write

from lobes.data import arguments, audio
from lobes.data.manifest import write_manifest
from lobes.errors import UserError, exit_on_user_error
from lobes.runs import names

RATE, SPEAKERS = 16000, 2
MEAN_S, SHORTEST_S, LONGEST_S = 2.5, 1.2, 9.0  # of the test set's files
LIMIT_MINUTES = 12.0  # for 824 files on two cores
METRICS = ("pesq", "stoi", "si_sdr")
SEED = 1234


def main() -> None:
    """Make the files, measure, print, write the JSON file."""
    options = parse()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seconds = make_files(folder, options.files)
        whole = evaluation(folder, "whole", options.workers)
        stopped = evaluation(folder, "stopped", options.workers, stop_after=whole / 2)
        again = evaluation(folder, "stopped", options.workers)
        tables = [(folder / name / names.UTTERANCES).read_text(encoding="utf-8") for name in ("whole", "stopped")]
    if tables[0] != tables[1]:
        raise UserError("an evaluation that was stopped ends with another table.")
    limit = f", at most {LIMIT_MINUTES:g} min for 824" if options.files == 824 else ""
    print(f"{options.files} files, {seconds / 60:.1f} min of audio: {whole / 60:.2f} min{limit}")
    print(f"stopped after {stopped:.0f} s, the rest took {again:.0f} s")
    settings = {"files": options.files, "workers": options.workers, "metrics": list(METRICS)}
    found = {"audio_seconds": round(seconds, 1), "wall_seconds": round(whole, 1), "after_a_stop": round(again, 1)}
    write({**about(seed=SEED, **settings), **found}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=arguments.count, default=824)
    parser.add_argument("--workers", type=arguments.from_zero, default=2)
    parser.add_argument("--output", type=result_file, default=RESULTS / "evaluation.json")
    return parser.parse_args()


def make_files(folder: Path, count: int) -> float:
    """Write mixtures, targets, outputs and a manifest; returns the seconds of audio."""
    rng, rows, total = np.random.default_rng(SEED), [], 0.0
    for number in range(count):
        ID, samples = f"p{number % SPEAKERS}_{number:03}", round(RATE * length(rng))
        clean, noise = voice(rng, samples), 0.03 * rng.standard_normal(samples)
        for part, wave in (("noisy", clean + noise), ("clean", clean), ("theirs", clean + noise / 3)):
            audio.write(folder / part / f"{ID}.wav", wave, RATE)
        files = {"mix_wav": f"$data_root/noisy/{ID}.wav", "s1_wav": f"$data_root/clean/{ID}.wav"}
        rows.append({"ID": ID, "duration": samples / RATE, **files, "speaker": ID[:2]})
        total += samples / RATE
    write_manifest(folder / "test.csv", rows)
    return total


def length(rng: np.random.Generator) -> float:
    """Seconds of a file, from a distribution with the mean of the test set."""
    return float(np.clip(SHORTEST_S + rng.gamma(2.0, (MEAN_S - SHORTEST_S) / 2), SHORTEST_S, LONGEST_S))


def voice(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Bursts of harmonics, which PESQ takes for utterances."""
    at = np.arange(samples) / RATE
    envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * at), 0, 1)
    pitch = 100 + 60 * rng.random()
    return 0.1 * envelope * sum(np.sin(2 * np.pi * k * pitch * at) / k for k in range(1, 20))


def evaluation(folder: Path, out: str, workers: int, stop_after: float | None = None) -> float:
    """Wall seconds of the command, which is killed after some of them if that is asked for."""
    command = [sys.executable, "-m", "lobes.cli", "evaluate", f"outputs:{folder / 'theirs'}", "--no-report"]
    command += ["--data", str(folder / "test.csv"), "-o", str(folder / out), "--workers", str(workers)]
    command += [f"--metric={name}" for name in METRICS]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            code = process.wait(stop_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return time.perf_counter() - begin
    if code:
        raise UserError("the evaluation failed; what is above says why.")
    return time.perf_counter() - begin


if __name__ == "__main__":
    with exit_on_user_error():
        main()
