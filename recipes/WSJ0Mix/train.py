#!/usr/bin/env python3
"""Train, validate and test a separator on WSJ0-2mix or WSJ0-3mix, WHAM! or WHAMR!.

> python train.py hparams/spmamba.yaml --data_folder /data/wsj0-mix/2speakers

The same command resumes a stopped run; a finished one is only tested again.
"""

import sys

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

from speechbrain.core import Stage
from wsj0mix_prepare import are_sums, prepare_wsj0mix

from lobes.data.augmentation.chain import KEYS, refuse_without_sums
from lobes.data.datasets import stored_mixtures
from lobes.data.sample import check_sample
from lobes.data.shards.prepare import by_format
from lobes.errors import exit_on_user_error
from lobes.objectives.separation import OPTIONS, separation_loss
from lobes.runs.main_process import on_main
from lobes.training.batches import to_device
from lobes.training.brain import SeparationBrain
from lobes.training.launch import start


class Separation(SeparationBrain):
    """A separator under the clamped negative of `loss` with the best permutation. B batch, T samples, S sources."""

    def compute_forward(self, batch, stage):
        """Estimate the sources [B,T,S] of the mixtures [B,T]."""
        batch = to_device(batch, self.device)
        mix, lengths = batch.mix_sig
        return self.modules.separator(mix, lengths)

    def compute_objectives(self, predictions, batch, stage):
        """The mean loss of the batch in dB, lower is better; validation also counts SI-SDR and its gain."""
        mix, lengths = batch.mix_sig
        targets, _ = batch.sources_sig
        if stage != Stage.TRAIN:
            self.count_scores(predictions, batch)
        options = {name: getattr(self.hparams, name) for name in OPTIONS}
        return separation_loss(predictions, targets, lengths, mix, **options).mean()


def dataio_prep(hparams):
    """Build the three datasets {id, mix_sig [T], sources_sig [T,S]}; training cuts at random, anew in every epoch."""
    keys = ("save_folder", "data_folder", "num_spks", "sample_rate", "training_signal_len", "seed")
    return stored_mixtures(**{key: hparams[key] for key in keys}, augmentation={key: hparams[key] for key in KEYS})


def check(settings):
    """Refuse augmentation of sources where the mixtures are not their sums, before anything is done."""
    if not are_sums(settings["mixtures"], settings["targets"]):
        refuse_without_sums(settings, "reverberant mixtures are not the sums of anechoic targets (--targets reverb)")


def main(argv):
    """Prepare, train, test."""
    hparams, run_opts = start(argv, __file__, check)
    options = ("num_spks", "sample_rate", "mode", "mixtures", "targets", "check_files", "verify_sum", "skip_prep")
    folders = [hparams["data_folder"], hparams["save_folder"]]
    on_main(by_format(prepare_wsj0mix, hparams), *folders, **{name: hparams[name] for name in options})
    checks = {name: hparams[name] for name in ("sample_checks", "verify_sum")}
    on_main(check_sample, *folders, **checks, sums=are_sums(hparams["mixtures"], hparams["targets"]))
    datasets, clock = dataio_prep(hparams)
    brain = Separation(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.fit_and_test(datasets, clock)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
