"""Recipes on mixtures that lie ready on disk: Brain, examples, main program. A data set adds its preparation.

B batch, T samples, S sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes
from speechbrain.utils.distributed import ddp_init_group, run_on_main

from lobes.config import load
from lobes.data.audio import read_mono
from lobes.data.manifest import read_manifest
from lobes.data.seeding import item_rng
from lobes.objectives.separation import separation_loss
from lobes.training.brain import SeparationBrain
from lobes.training.launch import make_run_folder, read_command_line

SPLITS = ("train", "valid", "test")
Row = Mapping[str, Any]


class MixtureBrain(SeparationBrain):
    """A separator trained with clamped negative SI-SNR under the best permutation."""

    def compute_forward(self, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """Estimate the sources [B,T,S] of the mixtures [B,T]."""
        batch = batch.to(self.device)
        mix, lengths = batch.mix_sig
        return self.modules.separator(mix, lengths)

    def compute_objectives(self, predictions: torch.Tensor, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """The mean loss of the batch; scores are counted beside it in validation."""
        mix, lengths = batch.mix_sig
        targets, _ = batch.sources_sig
        if stage != sb.Stage.TRAIN:
            self.count_scores(predictions, batch)
        loss = separation_loss(predictions, targets, lengths, mix=mix, clamp_db=self.hparams.clamp_db)  # [B]
        return loss.mean()


def examples(rows: Sequence[Row], make: Callable[[str], tuple[str, np.ndarray, np.ndarray]]) -> DynamicItemDataset:
    """A dataset {id, variant, mix_sig [T], sources_sig [T,S]} of what `make` gives for an ID."""

    @takes("id")
    @provides("variant", "mix_sig", "sources_sig")
    def example(ID: str) -> Any:
        variant, mix, sources = make(ID)
        yield variant
        yield torch.from_numpy(mix)  # [T]
        yield torch.from_numpy(sources)  # [T,S]

    keys = ["id", "variant", "mix_sig", "sources_sig"]
    return DynamicItemDataset({row["ID"]: {} for row in rows}, dynamic_items=[example], output_keys=keys)


def read_rows(hparams: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    """The rows of a split's manifest, as the preparation left it in the run folder."""
    return read_manifest(f"{hparams['save_folder']}/{split}.csv", hparams["data_folder"])


def datasets(hparams: Mapping[str, Any]) -> tuple[dict[str, DynamicItemDataset], torch.Tensor]:
    """The three datasets; the returned clock [1] carries the epoch into loader workers, for the cuts of training."""
    clock = torch.zeros(1, dtype=torch.int64).share_memory_()
    return {split: _dataset(hparams, split, clock) for split in SPLITS}, clock


def _dataset(hparams: Mapping[str, Any], split: str, clock: torch.Tensor) -> DynamicItemDataset:
    rows = {row["ID"]: row for row in read_rows(hparams, split)}
    columns = ["mix_wav", *(f"s{number}_wav" for number in range(1, hparams["num_spks"] + 1))]
    length = hparams["training_signal_len"] if split == "train" else None

    def make(ID: str) -> tuple[str, np.ndarray, np.ndarray]:
        mix, *sources = (read_mono(rows[ID][column], hparams["sample_rate"]) for column in columns)
        start = 0
        if length is not None:
            rng = item_rng(hparams["seed"], int(clock), ID)
            start = int(rng.integers(max(1, len(mix) - length + 1)))
        cut = slice(start, None if length is None else start + length)
        return "all", mix[cut], np.stack(sources, 1)[cut]

    return examples(list(rows.values()), make)


def main(
    argv: list[str],
    script: str,
    prepare: Callable[..., None],
    options: Sequence[str],
    brain_class: type[SeparationBrain] = MixtureBrain,
    make_datasets: Callable[[dict[str, Any]], tuple[Mapping[str, Any], torch.Tensor]] = datasets,
) -> None:
    """Prepare, train, test.

    Arguments
    ---------
    argv : list of str
        The command line.
    script : str
        The recipe's train.py, which is copied into the run folder.
    prepare : callable
        Writes the manifests; called with `data_folder`, `save_folder` and the hparams named in `options`.
    options : sequence of str
        Their names.
    brain_class : type
        What trains.
    make_datasets : callable
        hparams -> split -> dataset, and the clock that carries the epoch.
    """
    text, run_opts, _ = read_command_line(argv)
    hparams = load(text)
    ddp_init_group(run_opts)
    run_on_main(make_run_folder, [hparams["output_folder"], text, script, argv])
    folders = [hparams["data_folder"], hparams["save_folder"]]
    run_on_main(prepare, folders, {name: hparams[name] for name in options})
    sets, clock = make_datasets(hparams)
    brain = brain_class(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.epoch_clock = clock
    train_loader = {"batch_size": hparams["batch_size"], "num_workers": hparams["num_workers"], "shuffle": True}
    eval_loader = {"batch_size": hparams["valid_batch_size"], "num_workers": hparams["num_workers"]}
    brain.fit(hparams["epoch_counter"], sets["train"], sets["valid"], None, train_loader, eval_loader)
    brain.evaluate(sets["test"], test_loader_kwargs=eval_loader)
