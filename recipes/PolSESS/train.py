#!/usr/bin/env python3
"""Train, validate and test a separator on PolSESS: speech in Polish, in real-life noise.

> python train.py hparams/spmamba.yaml --data_folder /data/PolSESS_C --task ES

Tasks: ES one speaker enhanced, EB both enhanced, SB both separated. The input's variant (which of scene, event and
reverb stay in the mixture; MM-IPC) is drawn anew for each example in training and fixed by the ID in valid and test.
The same command resumes a stopped run; a finished one is only tested again.
"""

import sys

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

import torch
from polsess_prepare import prepare_polsess

from lobes.data.audio import read_mono
from lobes.data.datasets import read_rows
from lobes.data.seeding import item_rng
from lobes.errors import exit_on_user_error
from lobes.polsess import mmipc
from lobes.polsess.curriculum import variants_at
from lobes.polsess.manifest import TYPES
from lobes.polsess.remix import Remixer, perturb_speed
from lobes.polsess.variants import ALL_VARIANTS, INDOOR_PARTS, OUTDOOR_PARTS, compatible, in_improvement_mean
from lobes.training import mixtures


class Separation(mixtures.MixtureBrain):
    """What is particular to PolSESS: in the tasks ES and EB some inputs are the target itself."""

    def improves(self, batch):
        """Whether each item's improvement means something: in ES and EB, variant C is the target itself."""
        return [in_improvement_mean(self.hparams.task, variant) for variant in batch.variant]


def dataio_prep(hparams):
    """Build the three datasets; the returned clock [1] carries the epoch into loader workers."""
    clock = torch.zeros(1, dtype=torch.int64).share_memory_()
    splits = {name: read_rows(hparams["save_folder"], name, hparams["data_folder"], TYPES) for name in mixtures.SPLITS}
    datasets = {name: dataset(hparams, rows, clock, name == "train") for name, rows in splits.items()}
    return datasets, clock


def dataset(hparams, rows, clock, training):
    """Turn manifest rows into examples {id, variant, mix_sig [T], sources_sig [T,S]}."""
    if training and hparams["variants"]:
        rows = [row for row in rows if compatible(row["has_reverb"], hparams["variants"])]
    by_id = {row["ID"]: row for row in rows}
    make = training_examples(hparams, by_id, clock) if training else fixed_examples(hparams, by_id)
    return mixtures.examples(rows, make)


def fixed_examples(hparams, rows):
    """Valid and test: the variant follows from the ID alone."""

    def make(ID):
        row = rows[ID]
        variant = mmipc.fixed_variant(ID, row["has_reverb"])
        return variant, *mmipc.render(hparams["task"], variant, row["has_reverb"], reader(row, hparams))

    return make


def training_examples(hparams, rows, clock):
    """Training: variant, remix, speed and cut are drawn anew in every epoch, seeded by (seed, epoch, ID)."""
    task, curriculum = hparams["task"], hparams["curriculum"]
    usual = hparams["variants"] or [name for name in ALL_VARIANTS if in_improvement_mean(task, name)]
    remixer = Remixer(list(rows.values()), read_mono, hparams["sample_rate"]) if hparams["dynamic_mixing"] else None

    def make(ID):
        row, epoch = rows[ID], int(clock)
        rng = item_rng(hparams["seed"], epoch, ID)
        allowed = variants_at(curriculum, epoch) or usual
        variant = mmipc.draw_variant(rng, row["has_reverb"], allowed)
        if remixer is None and not hparams["speed_changes"]:
            mix, sources = mmipc.render(task, variant, row["has_reverb"], reader(row, hparams))
        else:
            parts = remixer.remix(row, rng) if remixer else all_parts(row, hparams)
            parts = perturb_speed(parts, rng, hparams["speed_changes"]) if hparams["speed_changes"] else parts
            mix, sources = mmipc.render_parts(task, variant, parts)
        start = int(rng.integers(max(1, len(mix) - hparams["training_signal_len"] + 1)))
        cut = slice(start, start + hparams["training_signal_len"])
        return variant, mix[cut], sources[cut]

    return make


def reader(row, hparams):
    """Read a part of an example by its name."""
    return lambda part: read_mono(row[f"{part}_wav"], hparams["sample_rate"])


def all_parts(row, hparams):
    """Read all stored parts of an example."""
    names = INDOOR_PARTS if row["has_reverb"] else OUTDOOR_PARTS
    return {name: reader(row, hparams)(name) for name in names}


OPTIONS = ("max_train_items", "seed", "drop_same_speaker", "verify_sum", "check_files", "sample_rate", "skip_prep")


def prepare(data_folder, save_folder, max_train_items, **options):
    """Write the manifests."""
    prepare_polsess(data_folder, save_folder, max_samples=max_train_items and {"train": max_train_items}, **options)


def main(argv):
    """Prepare, train, test."""
    mixtures.main(argv, __file__, prepare, OPTIONS, Separation, dataio_prep)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
