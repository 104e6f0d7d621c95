#!/usr/bin/env python3
"""Do the recipes still compute the same? The losses of some training steps of each, and the weights afterwards.

> python scripts/step_losses.py --out before.json        # on one commit
> python scripts/step_losses.py --against before.json    # on another one

Each case trains `recipes/<set>/train.py` of this checkout in a process of its own, in fp32, on one thread of the CPU,
on noise and harmonic tones that are made here from a seed. A change of the code that is meant to change no number shows
the same losses to the last digit. The figures hold for one machine and one version of PyTorch.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHILD = "--record"  # as the first word of the command line: this process is one training
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
COMMON = (
    "--device cpu --noprogressbar --precision fp32 --num_workers 0 --N_epochs 99 --test_metrics [si_sdr] "
    "--n_audio_to_save 0 --scoring_workers 0"
)


class Case(NamedTuple):
    """A training: the recipe's folder, its file, further options, and another network than the file's."""

    recipe: str
    file: str
    options: str = ""
    preset: str = ""
    accumulation: int = 1  # batches in a step


AS_STORED = "--dynamic_mixing false --speed_changes null"
SEPARATION = "--training_signal_len 6000 --warmup_steps 5"
SPECTRA = "--training_signal_len 4000 --batch_size 1"
CASES = {
    "PolSESS ES": Case("PolSESS", "spmamba_tiny"),
    "PolSESS SB": Case("PolSESS", "spmamba_tiny", "--task SB"),
    "PolSESS SB, unequal lengths": Case(
        "PolSESS", "spmamba_tiny", f"--task SB --batch_size 2 --training_signal_len 11000 {AS_STORED}"
    ),
    "PolSESS EB, speeds alone": Case("PolSESS", "spmamba_tiny", "--task EB --dynamic_mixing false"),
    "PolSESS SB, accumulation": Case(
        "PolSESS",
        "spmamba_tiny",
        "--task SB --training_signal_len 4000 --speed_changes null --grad_accumulation_factor 2 "
        "--gradient_checkpointing true",
        accumulation=2,
    ),
    "PolSESS ConvTasNet ES": Case("PolSESS", "spmamba_tiny", AS_STORED, "convtasnet_tiny"),
    "PolSESS ConvTasNet SB": Case(
        "PolSESS", "spmamba_tiny", "--task SB --batch_size 2 --training_signal_len 4000", "convtasnet_tiny"
    ),
    "PolSESS DPMamba SB": Case("PolSESS", "spmamba_mini", "--task SB", "dpmamba_tiny"),
    "PolSESS Mamba-TasNet ES": Case("PolSESS", "spmamba_mini", "", "mamba_tasnet_tiny"),
    "PolSESS BSRNN SB": Case("PolSESS", "spmamba_mini", "--task SB --training_signal_len 4000", "bsrnn_8k_tiny"),
    "PolSESS TF-GridNet ES": Case("PolSESS", "spmamba_mini", "--training_signal_len 4000", "tf_gridnet_mini"),
    "LibriMix": Case("LibriMix", "spmamba", SEPARATION, preset="spmamba_tiny"),
    "LibriMix, noisy": Case(
        "LibriMix", "spmamba", f"{SEPARATION} --mixtures both --train_subset train-100", preset="spmamba_tiny"
    ),
    "WSJ0Mix": Case("WSJ0Mix", "spmamba", SEPARATION, preset="spmamba_tiny"),
    "custom": Case("custom", "spmamba", f"{SEPARATION} --batch_size 2", preset="spmamba_tiny"),
    "VoiceBank BSRNN, compressed": Case("VoiceBank", "bsrnn_mini", SPECTRA),
    "VoiceBank BSRNN, local norms": Case("VoiceBank", "bsrnn_mini", SPECTRA, "bsrnn_local_norms"),
    "VoiceBank BSRNN, published": Case("VoiceBank", "bsrnn", SPECTRA + " --metric_start null"),
    "VoiceBank BSRNN, discriminator": Case(
        "VoiceBank", "bsrnn", "--training_signal_len 8000 --batch_size 1 --metric_start 1 --pesq_workers 1"
    ),
    "VoiceBank BS-BiMamba": Case("VoiceBank", "bsrnn_mini", SPECTRA, "bs_bimamba_abl2_small"),
    "VoiceBank MBS-Net, PCS": Case("VoiceBank", "bsrnn_mini", SPECTRA + " --pcs_target true", "mbs_net"),
}


def main() -> int:
    """Train every case, print and write what was found; 1 if it differs from an earlier file."""
    options = parse()
    before = json.loads(options.against.read_text(encoding="utf-8")) if options.against else {}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder) / "data")
        for number, name in enumerate(options.only or CASES):
            found[name] = train(CASES[name], data[CASES[name].recipe], Path(folder) / str(number), options.steps)
            print(words(name, found[name]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    different = list(differences(before, found)) if before else []
    print("\n".join(different or (["all equal"] if before else [])))
    return 1 if different else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--steps", type=int, default=20)
    add("--only", nargs="+", choices=list(CASES), metavar="CASE", help=f"of: {'; '.join(CASES)}")
    add("--out", type=Path, help="JSON file to write")
    add("--against", type=Path, help="JSON file of an earlier run, to compare with")
    return parser.parse_args()


def words(name: str, result: Mapping[str, Any]) -> str:
    """A case for the terminal: every loss with all its digits."""
    return f"{name}: weights {result['weights_sha256'][:16]}, losses {' '.join(map(repr, result['losses']))}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """One line for each case whose losses, weights or validation scores are not those of the earlier file.

    Weights whose values are the same under other names or in other shapes are no difference.
    """
    for name, result in now.items():
        old = before.get(name)
        if old is None:
            yield f"{name}: not in the earlier file"
            continue
        pairs = list(zip(old["losses"], result["losses"], strict=False))
        first = next((step for step, (a, b) in enumerate(pairs, 1) if a != b), None)
        if first is not None:
            apart = max(abs(a - b) for a, b in pairs)
            yield f"{name}: losses differ from step {first} on, by up to {apart:.3g}"
        for key in ("values_sha256", "validation"):
            if old[key] != result[key]:
                yield f"{name}: {key} differs: {old[key]}, now {result[key]}"
        if len(old["losses"]) != len(result["losses"]):
            yield f"{name}: {len(old['losses'])} losses, now {len(result['losses'])}"


# ---- one training


def command_line(case: Case, data: Path, run: Path, steps: int) -> list[str]:
    """The words after train.py."""
    preset = ["--preset", case.preset] if case.preset else []
    folders = ["--data_folder", str(data), "--output_folder", str(run)]
    common = [*COMMON.split(), "--max_steps", str(steps)]
    return [f"hparams/{case.file}.yaml", *folders, *common, *case.options.split(), *preset]


def train(case: Case, data: Path, run: Path, steps: int) -> dict[str, Any]:
    """Train in a process of its own; the losses of all steps, and what the last checkpoint holds."""
    record = run.with_suffix(".json")
    words = command_line(case, data, run, steps)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, __file__, CHILD, str(record), "train.py", *words],
        cwd=ROOT / "recipes" / case.recipe,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    losses = json.loads(record.read_text(encoding="utf-8")) if record.exists() else []
    if done.returncode or len(losses) != steps * case.accumulation:
        sys.exit(f"{done.stdout}\n{case}: ended with {done.returncode} after {len(losses)} losses")
    options = " ".join([f"hparams/{case.file}.yaml", *(["preset", case.preset] if case.preset else []), case.options])
    return {"recipe": case.recipe, "options": options.strip(), "losses": losses, **last_checkpoint(run / "save")}


def record_losses(record: Path, script: str, words: Sequence[str]) -> None:
    """Run a recipe's script as if it had been called, and write down what every `fit_batch` returns."""
    from speechbrain.core import Brain

    losses: list[float] = []
    fit_batch = Brain.fit_batch

    def recorded(self: Brain, batch: Any) -> torch.Tensor:
        loss = fit_batch(self, batch)
        losses.append(float(loss))
        return loss

    Brain.fit_batch = recorded
    sys.path[0] = str(Path(script).resolve().parent)
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        record.write_text(json.dumps(losses), encoding="utf-8")


def last_checkpoint(save: Path) -> dict[str, Any]:
    """Hashes of the newest checkpoint's weights, by name and of the sorted values alone, and its validation score."""
    notes = {path.parent: yaml.safe_load(path.read_text(encoding="utf-8")) for path in save.glob("CKPT+*/CKPT.yaml")}
    newest = max(notes, key=lambda folder: notes[folder]["unixtime"])
    state = torch.load(newest / "separator.ckpt", map_location="cpu", weights_only=True)
    named = hashlib.sha256()
    for name in sorted(state):
        named.update(name.encode() + state[name].contiguous().numpy().tobytes())
    values = torch.cat([value.double().flatten() for value in state.values()]).sort().values
    scores = {key: value for key, value in notes[newest].items() if key in ("si_sdri", "pesq")}
    return {
        "weights_sha256": named.hexdigest(),
        "values_sha256": hashlib.sha256(values.numpy().tobytes()).hexdigest(),
        "validation": scores,
    }


# ---- the data: about a second of tones and noise for each example, in each data set's layout

TWO = {"mix": "mix", "s1": "s1", "s2": "s2"}
SETS = {  # recipe -> folder of the splits, split -> stems, part -> folder
    "LibriMix": (
        "wav8k/min",
        {
            "train-360": [f"10{n}-1-01_4{n}-2-02" for n in range(8)],
            "train-100": [f"12{n}-1-01_5{n}-2-02" for n in range(8)],
            "dev": ["200-1-01_201-2-02", "202-1-01_203-2-02"],
            "test": ["300-1-01_301-2-02"],
        },
        {"mix": "mix_clean", "noisy": "mix_both", "s1": "s1", "s2": "s2", "noise": "noise"},
    ),
    "WSJ0Mix": (
        "wav8k/min",
        {
            "tr": [f"05{n}a0501_1.7_22{n}o010u_-1.7" for n in range(8)],
            "cv": ["050a0503_0.7_221o0102_-0.7", "051a0503_0.7_222o0102_-0.7"],
            "tt": ["440a0501_0.5_441o0102_-0.5"],
        },
        TWO,
    ),
    "custom": ("", {"train": [f"a{n}" for n in range(8)], "valid": ["b0", "b1"], "test": ["c0"]}, TWO),
}
ORIGIN = {1: "speech1OryginalPath", 2: "speech2OryginalPath"}  # so spelt in the data
FILES = {  # PolSESS: part -> folder, column
    **{"s1": ("clean", "speaker1File"), "s2": ("clean", "speaker2File"), "scene": ("scene", "sceneFile")},
    **{"event": ("event", "eventFile"), "mix": ("mix", "mixFile"), "ev_reverb": ("ev_reverb", "reverbForEvent")},
    **{f"sp{n}_reverb": (f"sp{n}_reverb", f"reverbForSpeaker{n}") for n in (1, 2)},
}


def make_data(root: Path) -> dict[str, Path]:
    """Write all data sets; recipe -> data folder."""
    rng = np.random.default_rng(0)
    for recipe, (below, splits, parts) in SETS.items():
        for split, stems in splits.items():
            for stem in stems:
                signals = two_speakers(rng, length(rng, 8000), 8000)
                for part, folder in parts.items():
                    write(root / recipe / below / split / folder / f"{stem}.wav", signals[part], 8000)
    make_polsess(root / "PolSESS", rng)
    make_voicebank(root / "VoiceBank", rng)
    return {path.name: path for path in root.iterdir()}


def make_polsess(root: Path, rng: np.random.Generator) -> None:
    """Every second example indoors, two scene classes of each kind, and eight speakers in training."""
    for split, count in {"train": 8, "val": 3, "test": 1}.items():
        rows = []
        for n in range(count):
            signals = polsess_parts(rng, indoor=n % 2 == 0)
            names = {part: f"{split}{n}-{part}.wav" for part in signals}
            for part, signal in signals.items():
                write(root / split / FILES[part][0] / names[part], signal, 8000)
            row = {column: names.get(part, "") for part, (_, column) in FILES.items()}
            row |= {ORIGIN[k]: f"made\\{split}{(2 * n + k) % 8}\\{n}.wav" for k in (1, 2)}
            row |= {"subset": split, "SSR": 0, "sceneClass": f"class{n % 4}", "eventClass": "event"}
            rows.append(row)
        with (root / split / f"corpus_steps_{split}_final.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def polsess_parts(rng: np.random.Generator, indoor: bool) -> dict[str, np.ndarray]:
    """The layers of one example and their sum."""
    samples = length(rng, 8000)
    parts = {"s1": voice(rng, samples, 8000), "s2": voice(rng, samples, 8000)}
    parts |= {"scene": 0.02 * rng.standard_normal(samples), "event": np.zeros(samples)}
    parts["event"][2000:4000] = 0.05 * rng.standard_normal(2000)
    if indoor:
        tail = rng.standard_normal(800) * np.exp(-np.arange(800) / 150) * 0.05
        for wet, dry in {"sp1_reverb": "s1", "sp2_reverb": "s2", "ev_reverb": "event"}.items():
            parts[wet] = np.convolve(parts[dry], tail)[:samples]
    return {**parts, "mix": np.sum(list(parts.values()), axis=0)}


def make_voicebank(root: Path, rng: np.random.Generator) -> None:
    """Pairs at 16 kHz; the recipe keeps speakers p226 and p287 for validation."""
    training = [f"p{speaker}_00{n}" for speaker in (226, 287) for n in (1,)]
    training += [f"p{speaker}_00{n}" for speaker in (228, 230) for n in range(1, 5)]
    for folder, names in {"trainset_28spk_wav": training, "testset_wav": ["p232_001"]}.items():
        for name in names:
            clean = voice(rng, length(rng, 16000), 16000)
            write(root / f"clean_{folder}" / f"{name}.wav", clean, 16000)
            noisy = clean + 0.02 * rng.standard_normal(len(clean))
            write(root / f"noisy_{folder}" / f"{name}.wav", noisy, 16000)


def two_speakers(rng: np.random.Generator, samples: int, rate: int) -> dict[str, np.ndarray]:
    """Two speakers, a noise, and the mixtures without and with it."""
    s1, s2 = voice(rng, samples, rate), voice(rng, samples, rate)
    noise = 0.02 * rng.standard_normal(samples)
    return {"s1": s1, "s2": s2, "noise": noise, "mix": s1 + s2, "noisy": s1 + s2 + noise}


def voice(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Bursts of harmonics [T] with a little noise: enough for PESQ to take it for speech."""
    time = np.arange(samples) / rate
    pitch, speed, phase = rng.uniform(90, 250), rng.uniform(2, 4), rng.uniform(0, 6)
    tones = np.sum([np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12)], axis=0)
    return 0.1 * np.clip(np.sin(2 * np.pi * speed * time + phase), 0, 1) * tones + 1e-3 * rng.standard_normal(samples)


def length(rng: np.random.Generator, rate: int) -> int:
    """Samples of an example: 0.8 to 1.2 s."""
    return int(rng.integers(8 * rate // 10, 12 * rate // 10))


def write(path: Path, signal: np.ndarray, rate: int) -> None:
    """A 16-bit file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.rint(32768 * signal).clip(-32768, 32767).astype(np.int16), rate)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        record_losses(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
