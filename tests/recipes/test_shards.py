"""Every recipe trains from shards as from files: the same run, bit for bit; nothing is lost or repeated in an epoch."""

from __future__ import annotations

import csv
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.sampler import DistributedSamplerWrapper, ReproducibleRandomSampler

from lobes import cli
from lobes.data.datasets import mixtures
from lobes.data.manifest import SPLITS, read_manifest, write_manifest
from lobes.data.shards.writing import write_shards
from lobes.doctor.command import doctor
from lobes.doctor.data import check_data
from lobes.doctor.tables import find_manifests
from lobes.training.brain import SeparationBrain

COMMON = (
    "--device cpu --noprogressbar --precision fp32 --batch_size 1 --N_epochs 2 --warmup_steps 0 "
    "--test_metrics [si_sdr] --n_audio_to_save 0 --scoring_workers 0"
).split()
MASKING = ("hparams/spmamba.yaml", "--preset", "convtasnet_tiny", "--training_signal_len", 2000)
POLSESS = ("hparams/spmamba_tiny.yaml", "--preset", "convtasnet_tiny", "--task", "SB", "--training_signal_len", 2000)
VOICEBANK = ("hparams/bsrnn_mini.yaml", "--valid_speakers", "[p226]", "--training_signal_len", 4000)
MIXING = ("--dynamic_mixing", "true", "--speed_changes", "[0.9, 1.1]")
RECIPES = {"custom": MASKING, "LibriMix": MASKING, "WSJ0Mix": (*MASKING, *MIXING), "PolSESS": POLSESS,
           "VoiceBank": VOICEBANK}  # fmt: skip


@pytest.fixture
def sharded(train, smallest_data, tmp_path, monkeypatch):
    """sharded(recipe): the recipe's data as shards, of its preparation's manifests; returns the examples of files."""

    def make(recipe):
        examples = loaded(monkeypatch, train, recipe, *RECIPES[recipe], "--data_folder", smallest_data[recipe],
                          "--output_folder", tmp_path / "files")  # fmt: skip
        for split in SPLITS:
            write_shards(tmp_path / "files" / "save" / f"{split}.csv", tmp_path / "shards", smallest_data[recipe])
        return examples

    return make


ITEMS, PARTS = 24, ("mix_wav", "s1_wav")


@pytest.fixture
def dealt(tmp_path):
    """dealt(epoch, ranks, workers): the numbers of the examples that each rank reads from shards, in its order."""
    for n in range(ITEMS):
        soundfile.write(tmp_path / f"{n}.wav", np.full(160, n / 32), 8000)
    rows = [{"ID": f"{n:02d}", "duration": 0.02, **dict.fromkeys(PARTS, f"$data_root/{n}.wav")} for n in range(ITEMS)]
    write_manifest(tmp_path / "train.csv", rows)
    folder = write_shards(tmp_path / "train.csv", tmp_path / "shards", megabytes=0.03)
    assert len(list(folder.glob("*.tar"))) > 3
    dataset = mixtures(read_manifest(folder / "manifest.csv", folder.parent), 1, 8000)

    def read(epoch, ranks, workers):
        found = []
        for rank in range(ranks):
            order = ReproducibleRandomSampler(dataset, seed=1)
            sampler = order if ranks == 1 else DistributedSamplerWrapper(order, num_replicas=ranks, rank=rank)
            loader = SaveableDataLoader(dataset, sampler=sampler, batch_size=2, num_workers=workers,
                                        collate_fn=PaddedBatch)  # fmt: skip
            sampler.set_epoch(epoch)
            found.append([round(float(x) * 32) for batch in loader for x in batch.mix_sig.data[:, 0]])
        return found

    return read


def loaded(monkeypatch, train, *words):
    """The examples of all splits in the second epoch, as the recipe's own training would get them."""
    examples = {}

    def keep(brain, datasets, clock):
        clock.fill_(2)
        for split, dataset in datasets.items():
            examples[split] = {dataset[n]["id"]: dataset[n] for n in range(len(dataset))}

    with monkeypatch.context() as patch:
        patch.setattr(SeparationBrain, "fit_and_test", keep)
        train(*words, *COMMON)
    return examples


@pytest.mark.parametrize("recipe", RECIPES)
def test_examples_are_those_of_the_files(recipe, train, sharded, tmp_path, monkeypatch):
    files = sharded(recipe)
    shards = loaded(monkeypatch, train, recipe, *RECIPES[recipe], "--data_folder", tmp_path / "shards",
                    "--data_format", "shards", "--output_folder", tmp_path / "run")  # fmt: skip
    assert {split: list(items) for split, items in files.items()} == {s: list(items) for s, items in shards.items()}
    for split, items in files.items():
        for ID, item in items.items():
            for key in ("mix_sig", "sources_sig"):
                assert torch.equal(item[key], shards[split][ID][key])


@pytest.mark.slow
def test_a_training_from_shards_is_the_one_from_files(train, sharded, smallest_data, tmp_path):
    sharded("custom")
    places = {"one": (smallest_data["custom"], "files"), "two": (tmp_path / "shards", "shards")}
    for run, (data, kind) in places.items():
        train("custom", *MASKING, *COMMON, "--data_folder", data, "--data_format", kind,
              "--output_folder", tmp_path / run)  # fmt: skip
    one, two = (losses(tmp_path / run / "learning_curve.csv") for run in places)
    assert len(one) == 2 and one == two
    tables = [(tmp_path / run / "per_utterance.csv").read_text() for run in places]
    assert tables[0] == tables[1]


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_training_from_shards_goes_on_in_the_middle_of_an_epoch(train, sharded, tmp_path, monkeypatch):
    sharded("custom")
    words = ("custom", *MASKING, *MIXING, *COMMON, "--data_folder", tmp_path / "shards", "--data_format", "shards",
             "--ckpt_interval_minutes", 0, "--ckpt_interval_steps", 1)  # fmt: skip
    train(*words, "--output_folder", tmp_path / "whole")
    step = SeparationBrain.fit_batch

    def second(brain, batch):
        if brain.budget.steps == 1:
            raise Killed
        return step(brain, batch)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(SeparationBrain, "fit_batch", second)
        train(*words, "--output_folder", tmp_path / "killed")
    train(*words, "--output_folder", tmp_path / "killed")
    one, two = (tmp_path / run for run in ("whole", "killed"))
    assert losses(one / "learning_curve.csv") == losses(two / "learning_curve.csv")
    assert (one / "per_utterance.csv").read_text() == (two / "per_utterance.csv").read_text()


def test_the_doctor_and_an_evaluation_take_shards_as_files(train, sharded, smallest_data, tmp_path, capsys):
    sharded("custom")
    assert not [f for f in check_data(find_manifests(tmp_path / "shards")) if f.level == "FAIL"]
    words = ("--data_folder", str(tmp_path / "shards"), "--data_format", "shards")
    assert doctor(["custom/spmamba.yaml", *map(str, MASKING[1:]), *words, *COMMON[:2], "--batch_size", "1"]) == 0
    train("custom", *MASKING, *COMMON, "--data_folder", smallest_data["custom"], "--output_folder", tmp_path / "run")
    tables = []
    for name, data in (("of_shards", tmp_path / "shards" / "test"), ("of_files", tmp_path / "run")):
        request = ["evaluate", tmp_path / "run", "--data", data, "-o", tmp_path / name, "--metric", "si_sdr",
                   "--workers", 0, "--device", "cpu", "--no-report"]  # fmt: skip
        run_cli(request)
        tables.append((tmp_path / name / "per_utterance.csv").read_text())
    assert tables[0] == tables[1]


def run_cli(words):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["lobes", *map(str, words)])
        cli.main()
    assert not ended.value.code


def losses(curve):
    """The columns of a learning curve that are neither times nor memory."""
    with curve.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in ("seconds", "peak_megabytes")} for row in rows]


@pytest.mark.parametrize("workers", [0, 1, 3, 8])
def test_readers_of_one_rank_get_each_example_once(workers, dealt):
    for epoch in (1, 2):
        assert Counter(dealt(epoch, 1, workers)[0]) == Counter(range(ITEMS))
    assert dealt(1, 1, workers) == dealt(1, 1, 0) != dealt(2, 1, workers)


@pytest.mark.parametrize("ranks", [2, 4, 5, 8])
def test_readers_of_several_ranks_lose_nothing(ranks, dealt):
    for epoch in (1, 2):
        read = dealt(epoch, ranks, 0)
        counts = Counter(item for items in read for item in items)
        assert set(counts) == set(range(ITEMS)) and len({len(items) for items in read}) == 1
        assert sum(counts.values()) - ITEMS == -ITEMS % ranks  # so that all ranks take equally many steps
