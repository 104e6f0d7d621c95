"""Part 5: four networks, each trained for 8 minutes on each corpus of real speech of the recipe PolSESS, and exported.

The corpora, the runs and the exported models lie in the folder of the results. A training that is stopped, because a
call's time is up, goes on from its last checkpoint in the next call.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gpu_day_rows import Row, Settings

sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes" / "PolSESS"))

import realdata

from lobes.data.audio import write
from lobes.inference import export_pretrained
from lobes.polsess.corpus import make_corpus
from lobes.runs.launcher import Run, run_all
from lobes.runs.provenance import usable_cores
from lobes.runs.record import collect

TITLE = "Trainings on real speech"
SECONDS = 540.0
TASKS = ("SB", "ES")
MODELS = ("spmamba_8k", "tf_gridnet", "convtasnet", "dpmamba_s")
DRY = ("convtasnet_tiny",)
SEED = 1


def rows(settings: Settings) -> dict[str, Callable[[], Row]]:
    """For each task its corpus, and each network on it."""
    work: dict[str, Callable[[], Row]] = {}
    for task in TASKS[: 1 if settings.dry else None]:
        work[f"{task} corpus"] = partial(corpus_row, settings, task)
        for model in DRY if settings.dry else MODELS:
            work[f"{task} {model}"] = partial(train, settings, task, model)
    return work


def options_of(settings: Settings) -> argparse.Namespace:
    """The options of realdata.py."""
    budget = ["--steps", "2"] if settings.dry else ["--minutes", str(settings.minutes)]
    hparams = "spmamba_tiny" if settings.dry else "spmamba"
    words = ["--output", str(settings.out / "runs"), "--hparams", hparams, "--device", settings.device, *budget]
    return realdata.parse(words)


def corpus_of(settings: Settings, task: str) -> Path:
    """The corpus of a task, which is made at the first call."""
    if settings.dry:
        return dry_corpus(settings.out / "runs" / "corpora")
    return realdata.make_data(realdata.find_recordings(settings.recordings), task, settings.out / "runs")


def corpus_row(settings: Settings, task: str) -> Row:
    """Make a corpus, and count its mixtures."""
    folder = corpus_of(settings, task)
    return {"mixtures": sum(1 for _ in folder.glob("*/mix/*"))}


def train(settings: Settings, task: str, model: str) -> Row:
    """Train a network to the end of its budget, test it, and export it."""
    run = run_of(settings, corpus_of(settings, task), task, model)
    run_all([run], every=30)
    outcome = collect(run.folder)
    steps, seconds = outcome.trained
    export_pretrained(run.folder, settings.out / "models" / f"{model}_{task}")
    mean = outcome.summary["mean"]
    scores = {name: mean.get(name) for name in ("si_sdr", "si_sdri", "pesq", "stoi")}
    return {"task": task, "preset": model, "steps": steps, "training_seconds": round(seconds, 1), **scores}


def run_of(settings: Settings, corpus: Path, task: str, model: str) -> Run:
    """The run of realdata.py, on as many cores as there are."""
    run = realdata.make_run(options_of(settings), corpus, task, model, SEED)
    cores = usable_cores()
    more: dict[str, Any] = {"num_workers": 0} if settings.dry else {"num_workers": min(12, cores - 1)}
    more["scoring_workers"] = 0 if settings.dry else cores // 2
    return dataclasses.replace(run, options={**run.options, **more}, threads=0)


def dry_corpus(folder: Path) -> Path:
    """A few mixtures of bursts of harmonics, for a dry run."""
    if (folder / "dry").is_dir():
        return folder / "dry"
    time, rng = np.arange(16000) / 8000, np.random.default_rng(0)
    for speaker in range(6):
        pitch = 90 + 25 * speaker
        wave = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
        envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time), 0, 1)
        write(folder / "voices" / f"speaker{speaker}" / "a.wav", 0.1 * envelope * wave, 8000)
    counts = {"train": 2, "val": 1, "test": 1}
    return make_corpus(folder, "dry", speech=folder / "voices", counts=counts, seconds=0.5, seed=1, progress=False)
