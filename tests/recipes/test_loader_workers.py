"""Loader workers that are started by spawn, as on macOS and Windows: all they get pickles, and no number changes."""

from __future__ import annotations

import csv
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import speechbrain as sb
import torch

from lobes.training.brain import SeparationBrain

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases"
COMMON = (
    "--device cpu --noprogressbar --precision fp32 --batch_size 1 --N_epochs 2 --warmup_steps 0 "
    "--test_metrics [si_sdr] --n_audio_to_save 0 --scoring_workers 0"
).split()
CURRICULUM = "[{epoch: 1, variants: [R, SE]}, {epoch: 2, variants: [SER, S]}]"
MASKING = ("hparams/spmamba.yaml", "--preset", "convtasnet_tiny", "--training_signal_len", 2000)
POLSESS = ("hparams/spmamba_tiny.yaml", "--preset", "convtasnet_tiny", "--task", "SB", "--training_signal_len", 2000)
AUGMENTED = ("--dynamic_mixing", "true", "--speed_changes", "[0.9, 1.1]", "--max_shift", 100, "--rooms", "simulated",
             "--band_limits", "[3000]", "--codecs", "[mp3, opus]")  # fmt: skip
VOICEBANK = ("hparams/bsrnn_mini.yaml", "--valid_speakers", "[p226]", "--training_signal_len", 4000)
RECIPES = {
    "custom": ("custom", *MASKING),
    "LibriMix": ("LibriMix", *MASKING),
    "WSJ0Mix": ("WSJ0Mix", *MASKING),
    "WSJ0Mix, augmented": ("WSJ0Mix", *MASKING, *AUGMENTED),
    "custom, augmented": ("custom", *MASKING, *AUGMENTED),
    "PolSESS, dynamic mixing": ("PolSESS", *POLSESS, "--curriculum", CURRICULUM),
    "PolSESS, augmented": ("PolSESS", *POLSESS, *AUGMENTED),
    "PolSESS, as stored": ("PolSESS", *POLSESS, "--dynamic_mixing", "false", "--speed_changes", "null"),
    "VoiceBank": ("VoiceBank", *VOICEBANK),
    "VoiceBank, PCS": ("VoiceBank", *VOICEBANK, "--pcs_target", "true"),
    "VoiceBank, augmented": ("VoiceBank", *VOICEBANK, "--pcs_target", "true", *AUGMENTED),
}
SPAWNED = ("custom", "PolSESS, dynamic mixing", "VoiceBank")


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_loader_worker_gets_can_be_pickled(name, train, smallest_data, tmp_path, monkeypatch):
    loaders = {}

    def keep_loaders(brain, datasets, clock):
        clock.fill_(2)
        for split, dataset in datasets.items():
            stage = sb.Stage[split.upper()]
            loaders[split] = brain.make_dataloader(dataset, stage, "", batch_size=1, num_workers=2)

    monkeypatch.setattr(SeparationBrain, "fit_and_test", keep_loaders)
    recipe, *words = RECIPES[name]
    train(recipe, *words, "--data_folder", smallest_data[recipe], "--output_folder", tmp_path / "run", *COMMON)
    assert set(loaders) == {"train", "valid", "test"}
    spawns = multiprocessing.get_start_method() != "fork"
    assert all(loader.persistent_workers == spawns for loader in loaders.values())
    for loader in loaders.values():
        given = (loader.dataset, loader.collate_fn, loader.worker_init_fn, loader.generator)
        dataset, collate, *_ = pickle.loads(pickle.dumps(given))
        one, other = loader.collate_fn([loader.dataset[0]]), collate([dataset[0]])
        assert torch.equal(one.mix_sig.data, other.mix_sig.data)
        assert torch.equal(one.sources_sig.data, other.sources_sig.data)


def test_spawned_workers_outlive_an_epoch(train, smallest_data, tmp_path, monkeypatch):
    monkeypatch.setattr("multiprocessing.get_start_method", lambda: "spawn")
    test_what_a_loader_worker_gets_can_be_pickled("custom", train, smallest_data, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPAWNED)
def test_spawned_workers_change_no_number(name, train, smallest_data, tmp_path):  # T2-60
    recipe, *words = RECIPES[name]
    data = CASES / "T2-60" / "data" if recipe == "custom" and CASES.is_dir() else smallest_data[recipe]
    words = [*words, "--data_folder", data, *COMMON]
    train(recipe, *words, "--output_folder", tmp_path / "none", "--num_workers", 0)
    spawned(tmp_path, recipe, *words, "--output_folder", tmp_path / "two", "--num_workers", 2)
    one, two = (losses(tmp_path / run) for run in ("none", "two"))
    assert len(one) == 2 and one == two


def spawned(folder, recipe, *words):
    """Run train.py in a process of its own, whose loaders start their workers by spawn."""
    (folder / "sitecustomize.py").write_text("import multiprocessing\nmultiprocessing.set_start_method('spawn')\n")
    paths = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "train.py", *map(str, words)],
        cwd=ROOT / "recipes" / recipe,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert done.stdout.count("loading PyTorch") == 1  # a worker imports train.py again, and says nothing


def losses(run):
    """The columns of the learning curve that are neither times nor memory."""
    with (run / "learning_curve.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in ("seconds", "peak_megabytes")} for row in rows]
