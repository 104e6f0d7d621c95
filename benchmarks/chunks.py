#!/usr/bin/env python3
"""What does it cost to separate a long recording in chunks, against the whole at once?

> python benchmarks/chunks.py MODEL DATA [--seconds 60] [--chunk_s 30 15 8]

MODEL is a run or exported folder, DATA holds a `manifest.csv` with path, kind, speaker, split and duration. A mixture
is of two speakers that no training heard (of one, for a model with one output) and of noise, each of recordings one
after another. Both ways are scored against the sources, and the chunks against the whole.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RESULTS, about, result_file, write
from speaker_order import voices

from lobes.data import arguments
from lobes.data.audio import read_mono_with_rate
from lobes.data.rates import resample
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.clusters import Clusters, estimate
from lobes.inference import Separator
from lobes.inference.options import Options
from lobes.objectives import pit_si_snr


def main() -> None:
    """Mix, separate both ways, write the JSON file."""
    options = parse()
    if options.data is None:
        print("no model and no folder of recordings given, nothing measured")
        return
    separator = Separator.from_hparams(options.model)
    rate, count = separator.sample_rate, separator.num_sources
    speakers, noise = voices(options.data, rate), noises(options.data, rate)
    rng, rows = np.random.default_rng(0), []
    for number in range(options.mixtures):
        names, sources, mix = mixture(rng, speakers, noise, count, round(options.seconds * rate), options.noise_db)
        rows += [{"mixture": number, "speakers": names, **row} for row in scores(separator, mix, sources, options)]
        print(f"mixture {number + 1} of {options.mixtures}: {rows[-1]}", flush=True)
    found = [summary(rows, chunk) for chunk in options.chunk_s]
    for row in found:
        print(row)
    command = f"python benchmarks/chunks.py MODEL DATA --seconds {options.seconds:g} --noise_db {options.noise_db:g}"
    about_it = about(model=options.model.name, rate=rate, sources=count, seconds=options.seconds)
    write({**about_it, "command": f"{command} --mixtures {options.mixtures}", "rows": found}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="without it nothing is measured")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--seconds", type=arguments.positive, default=60.0, help="of a mixture (default: %(default)s)")
    parser.add_argument(
        "--noise_db", type=arguments.positive, default=15.0, help="of the noise below the speech (default: %(default)s)"
    )
    parser.add_argument("--mixtures", type=arguments.count, default=20, help="default: %(default)s")
    parser.add_argument("--chunk_s", nargs="+", type=arguments.positive, default=[30.0, 15.0, 8.0])
    parser.add_argument("--output", type=result_file, default=RESULTS / "chunks.json")
    return parser.parse_args()


def noises(data: Path, rate: int) -> np.ndarray:
    """The noise of the test, one recording after another."""
    with (data / "manifest.csv").open(encoding="utf-8") as file:
        paths = [
            row["path"] for row in csv.DictReader(file) if row["kind"].startswith("noise") and row["split"] == "test"
        ]
    if not paths:
        raise UserError(f"{data}: its manifest.csv has no row of a noise and split test.")
    return np.concatenate([resample(*read_mono_with_rate(data / path), rate) for path in paths])


def mixture(
    rng: np.random.Generator,
    speakers: Mapping[str, np.ndarray],
    noise: np.ndarray,
    count: int,
    samples: int,
    below_db: float,
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Speakers [S], their speech [T,S] at levels within 5 dB, and the mixture [T] with noise."""
    names = [str(name) for name in rng.choice(sorted(speakers), count, replace=False)]
    parts = [_stretch(rng, speakers[name], samples) * 10 ** (rng.uniform(-2.5, 2.5) / 20) for name in names]
    sources = np.stack(parts, 1).astype(np.float32)
    sound = _stretch(rng, noise, samples) * np.sqrt(count) * 10 ** (-below_db / 20)
    return names, sources, (sources.sum(1) + sound).astype(np.float32)


def _stretch(rng: np.random.Generator, x: np.ndarray, samples: int) -> np.ndarray:
    """So many samples from a random place on, around the end where need be, at unit rms."""
    x = np.resize(np.roll(x, -int(rng.integers(len(x)))), samples)
    return x / np.sqrt(np.mean(x**2))


def scores(
    separator: Separator, mix: np.ndarray, sources: np.ndarray, options: argparse.Namespace
) -> list[dict[str, float]]:
    """A row for each length of a chunk."""
    whole = separator.separate(mix, Options(chunk_s=0))  # [T,S]
    rows = []
    for chunk in options.chunk_s:
        parts = separator.separate(mix, Options(chunk_s=chunk))
        gains = [si_sdr(x, sources) - si_sdr(np.stack([mix] * sources.shape[1], 1), sources) for x in (parts, whole)]
        rows.append({"chunk_s": chunk, "chunks": gains[0], "whole": gains[1], "against_whole": si_sdr(parts, whole)})
    return rows


def si_sdr(estimates: np.ndarray, targets: np.ndarray) -> float:
    """Mean SI-SDR in dB under the best order of the outputs, one order for the whole recording."""
    pair = (torch.from_numpy(np.ascontiguousarray(x))[None] for x in (estimates, targets))
    return round(float(pit_si_snr(*pair)[0].mean()), 4)


def summary(rows: Sequence[Mapping[str, Any]], chunk: float) -> dict[str, Any]:
    """Mean SI-SDRi of both ways, their difference with its interval over speakers, and the median agreement."""
    mine = [row for row in rows if row["chunk_s"] == chunk]
    difference = np.array([row["chunks"] - row["whole"] for row in mine])
    found = estimate(difference, Clusters([tuple(row["speakers"]) for row in mine]))
    return {
        "chunk_s": chunk,
        "mixtures": len(mine),
        "whole_si_sdri": round(float(np.mean([row["whole"] for row in mine])), 3),
        "chunks_si_sdri": round(float(np.mean([row["chunks"] for row in mine])), 3),
        "difference": [round(value, 3) for value in found[:3]],
        "chunks_against_whole": round(float(np.median([row["against_whole"] for row in mine])), 2),
    }


if __name__ == "__main__":
    with exit_on_user_error():
        main()
