#!/usr/bin/env python3
"""How long does one wait? `lobes --help`, the first line of `python train.py`, and its first training step.

> python benchmarks/startup.py [--repeats 5] [--output benchmarks/results/startup.json]

The training is that of hparams/spmamba_tiny.yaml on a miniature corpus, made first in a temporary folder; each repeat
starts a new run, with the files of the repeats before in the machine's cache. The clock starts before the process does.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _common import RESULTS, ROOT, about, result_file, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error

RECIPE = ROOT / "recipes" / "PolSESS"
FIRST_STEP = "first step"
# Seconds that nothing may exceed on a warm machine with two cores.
LIMITS = {"lobes --help": 0.5, "first line": 1.5, "first step": 6.0}


def main() -> None:
    """Measure, print the medians and the limits, write the JSON file."""
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        corpus = make_corpus(Path(scratch))
        command = train_command(corpus)
        seconds: dict[str, list[float]] = {name: [] for name in LIMITS}
        for repeat in range(options.repeats + 1):  # the first one warms the caches
            measured = measure(command, Path(scratch) / f"run{repeat}")
            for name, value in measured.items() if repeat else ():
                seconds[name].append(round(value, 3))
    training = " ".join(["python", *command]).replace(str(corpus), "CORPUS")
    write(about(training=training, results=report(seconds)), options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=arguments.count, default=5)
    parser.add_argument("--output", type=result_file, default=RESULTS / "startup.json")
    return parser.parse_args()


def make_corpus(folder: Path) -> Path:
    """A few mixtures, enough for some steps."""
    from lobes.polsess import corpus

    return corpus.make_corpus(folder, counts={"train": 16, "val": 4, "test": 4})


def train_command(corpus: Path) -> list[str]:
    """The command of a run, without its output folder."""
    return ["train.py", "hparams/spmamba_tiny.yaml", "--data_folder", str(corpus), "--max_steps", "8"]


def measure(command: list[str], output: Path) -> dict[str, float]:
    """One repeat: seconds by name."""
    start = time.perf_counter()
    lobes = Path(sys.executable).with_name("lobes")
    subprocess.run([lobes, "--help"], check=True, stdout=subprocess.DEVNULL)
    help_seconds = time.perf_counter() - start
    return {"lobes --help": help_seconds, **measure_training(command, output)}


def measure_training(command: list[str], output: Path) -> dict[str, float]:
    """Start a training, note when its first line and its first step come, stop it."""
    seen: dict[str, float] = {}
    lines = []
    start = time.perf_counter()
    with training([sys.executable, "-u", *command, "--output_folder", str(output)]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            seen.setdefault("first line", time.perf_counter() - start)
            if FIRST_STEP in line:
                seen["first step"] = time.perf_counter() - start
                return seen
    sys.exit("the training ended before its first step:\n" + "".join(lines[-20:]))


@contextmanager
def training(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in the recipe's folder that is gone afterwards."""
    process = subprocess.Popen(
        command, cwd=RECIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def report(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Print one line for each measurement and gather what the JSON file holds."""
    rows = {}
    for name, values in seconds.items():
        rows[name] = {"median": round(statistics.median(values), 3), "limit": LIMITS[name], "seconds": values}
        print(f"{name:14} median {rows[name]['median']:6.2f} s   at most {LIMITS[name]:4.1f} s   {values}")
    return rows


if __name__ == "__main__":
    with exit_on_user_error():
        main()
