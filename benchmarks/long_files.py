#!/usr/bin/env python3
"""How long does a recording of a minute, ten minutes or an hour take from file to files, and how much memory?

> python benchmarks/long_files.py [--presets spmamba_tiny] [--minutes 1 10 60] [--threads 1]

The recording is noise that swells like syllables, at 8 kHz in 16 bits, a WAV file of 58 MB at an hour. Each figure
comes from a fresh process that loads the preset with random weights and separates one second, so that all code is
compiled; then it separates the file as `lobes separate` does. `over_mb` is the highest memory of the process over what
it held before, `temporary_mb` the size of the file that holds the estimates until the end of the recording is known.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
from _common import MEGABYTE, RESULTS, about, result_file, save, timed, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.measuring import open_model, peak, start_peak
from lobes.runs.freed_memory import keep_freed_memory

RATE = 8000
SYLLABLES = 2.3  # a second
LIMIT = 1000.0  # MB over the model


def main() -> None:
    """Measure in fresh processes, print, write the JSON file; or, as such a process, print one row."""
    options = parse()
    if options.child:
        print(json.dumps(measure(options.presets[0], options.child, options.threads)))
        return
    rows: list[dict[str, Any]] = []
    where = about(rate=RATE, threads=options.threads)
    with TemporaryDirectory() as folder:
        for minutes in options.minutes:
            recording = Path(folder, f"{minutes:g}_minutes.wav")
            write_recording(recording, minutes)
            for preset in options.presets:
                rows.append({"preset": preset, "minutes": minutes, **fresh(preset, recording, options.threads)})
                print(f"{preset:20}{minutes:6g} min  {in_words(rows[-1])}", flush=True)
                save({**where, "rows": rows}, options.output)
    write({**where, "rows": rows}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--presets", nargs="+", default=["spmamba_tiny"])
    add("--minutes", nargs="+", type=arguments.positive, default=[1.0, 10.0, 60.0])
    add("--threads", type=arguments.count, default=1)
    add("--output", type=result_file, default=RESULTS / "long_files.json")
    add("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_recording(path: Path, minutes: float) -> None:
    """Write the recording, a minute at a time."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for start in range(0, round(minutes * 60) * RATE, 60 * RATE):
            count = min(60 * RATE, round(minutes * 60) * RATE - start)
            swelling = np.clip(np.sin(2 * np.pi * SYLLABLES * np.arange(count) / RATE) + 0.4, 0, 1)
            file.write(0.05 * rng.standard_normal(count) * swelling)


def in_words(row: dict[str, Any]) -> str:
    """A row's figures."""
    factor = f"{row['wall_s']:.0f} s, real-time factor {row['rtf']:.3f} (CPU {row['cpu_rtf']:.3f})"
    limit = "" if row["over_mb"] < LIMIT else f", above {LIMIT:g}"
    return f"{factor}, {row['over_mb']:.0f} MB over{limit}, {row['temporary_mb']:.0f} MB of temporary files"


def fresh(preset: str, recording: Path, threads: int) -> dict[str, Any]:
    """The row of one preset and recording, from a process of its own."""
    command = [sys.executable, __file__, "--child", str(recording), "--presets", preset, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TMPDIR": str(recording.parent)}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(preset: str, recording: Path, threads: int) -> dict[str, float]:
    """Separate the recording in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as `lobes separate` does
    separator: Any = open_model(preset)
    with torch.no_grad():
        separator.separate_batch(torch.randn(1, separator.sample_rate))
    before = start_peak("cpu")
    with Watch() as watch:
        times = timed(lambda: separator.separate_files([recording], recording.with_name("out")))
    seconds = soundfile.info(recording).duration
    return {
        "wall_s": round(times["wall"], 1),
        "rtf": round(times["wall"] / seconds, 4),
        "cpu_rtf": round(times["cpu"] / seconds, 4),
        "model_mb": round(before / MEGABYTE, 1),
        "over_mb": round((peak("cpu") - before) / MEGABYTE, 1),
        "temporary_mb": round(watch.most / MEGABYTE, 1),
    }


class Watch:
    """The most bytes in files that this process holds open without a name, looked up twice a second while it lasts."""

    def __init__(self) -> None:
        self.most, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.5):
            self.most = max(self.most, sum(map(size_without_name, Path("/proc/self/fd").iterdir())))


def size_without_name(descriptor: Path) -> int:
    """The bytes on disk of an open file that has been removed; 0 for any other descriptor."""
    try:
        return descriptor.stat().st_size if os.readlink(descriptor).endswith("(deleted)") else 0
    except OSError:  # closed meanwhile
        return 0


if __name__ == "__main__":
    with exit_on_user_error():
        main()
