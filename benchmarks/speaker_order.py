#!/usr/bin/env python3
"""How often is the order of two speakers right after a pause, when only their voices say who is who?

> python benchmarks/speaker_order.py DATA [--rate 8000] [--pauses 2000]

DATA holds a `manifest.csv` with path, kind, speaker, split and duration. Two speakers each speak for some seconds
before a pause and after it, in recordings of their own; after the pause their order is drawn at random, and
`SpeakerOrder` puts it right or not. Speakers are those that the weights of the voice were not fitted to.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import numpy as np
from _common import RESULTS, about, result_file, write

from lobes.data import arguments
from lobes.data.audio import read_mono_with_rate
from lobes.data.rates import resample
from lobes.errors import exit_on_user_error
from lobes.inference.stitching import SpeakerOrder

HELD_OUT = ("valid", "test")
BEFORE_S, AFTER_S = (4.0, 8.0), (1.0, 2.0, 4.0)
PAUSE_S = 1.0


def main() -> None:
    """Draw pauses, count right orders, write the JSON file."""
    options = parse()
    if options.data is None:
        print("no folder of recordings given, nothing measured")
        return
    speakers = voices(options.data, options.rate)
    rng, rows = np.random.default_rng(0), []
    for before in BEFORE_S:
        for after in AFTER_S:
            long = [x for x in speakers.values() if len(x) >= (before + after) * options.rate]
            right = sum(is_right(rng, long, before, after, options.rate) for _ in range(options.pauses))
            low, high = wilson(right, options.pauses)
            rows.append({"before_s": before, "after_s": after, "speakers": len(long), "right": right / options.pauses,
                         "interval": [low, high], "pauses": options.pauses})  # fmt: skip
            print(f"{before:g} s before, {after:g} s after: {right / options.pauses:.3f} [{low:.3f}, {high:.3f}]")
    command = f"python benchmarks/speaker_order.py DATA --rate {options.rate} --pauses {options.pauses}"
    write({**about(rate=options.rate), "command": command, "rows": rows}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="without it nothing is measured")
    parser.add_argument("--rate", type=arguments.count, default=8000)
    parser.add_argument("--pauses", type=arguments.count, default=1000, help="for each pair of lengths")
    parser.add_argument("--output", type=result_file, default=RESULTS / "speaker_order.json")
    return parser.parse_args()


def voices(data: Path, rate: int) -> dict[str, np.ndarray]:
    """The speech of each speaker, one recording after another, at a rate."""
    found: dict[str, list[np.ndarray]] = {}
    with (data / "manifest.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "speech" and row["split"] in HELD_OUT and float(row["duration"]) > 2:
                samples, own = read_mono_with_rate(data / row["path"])
                found.setdefault(row["speaker"], []).append(resample(samples, own, rate))
    return {speaker: np.concatenate(parts[:8]) for speaker, parts in found.items()}


def is_right(rng: np.random.Generator, speakers: list[np.ndarray], before: float, after: float, rate: int) -> bool:
    """One pause between two speakers."""
    first, second = rng.choice(len(speakers), 2, replace=False)
    sizes = [round(seconds * rate) for seconds in (before, after)]
    pieces = [[], []]  # type: ignore[var-annotated]
    for speaker in (first, second):
        x = speakers[speaker]
        start = rng.integers(len(x) - sum(sizes) + 1)
        gain = 10 ** (rng.uniform(-5, 5) / 20) / np.std(x)
        pieces[0].append(gain * x[start : start + sizes[0]])
        pieces[1].append(gain * x[start + sizes[0] : start + sum(sizes)])
    early, late = (np.stack(piece, 1) for piece in pieces)
    swap = bool(rng.integers(2))
    pause = np.zeros((round(PAUSE_S * rate), 2))
    order = SpeakerOrder(rate)
    order.next(None, early[:0], early)
    return order.next(pause, pause, late[:, ::-1] if swap else late) == ((1, 0) if swap else (0, 1))


def wilson(right: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share at 95 %."""
    share = right / of
    centre, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (centre - half) / (1 + z * z / of), (centre + half) / (1 + z * z / of)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
