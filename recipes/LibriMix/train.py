#!/usr/bin/env python3
"""Train, validate and test a separator on LibriMix: two or three speakers, clean or in noise.

> python train.py hparams/spmamba.yaml --data_folder /data/LibriMix

The same command resumes a stopped run; a finished one is only tested again.
"""

import sys

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

from librimix_metadata import prepare_on_the_fly
from librimix_prepare import prepare_librimix
from speechbrain.core import Stage

from lobes.data.augmentation.chain import KEYS
from lobes.data.datasets import made_mixtures, stored_mixtures
from lobes.data.on_the_fly import MadeParts
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
    keys = ("save_folder", "data_folder", "training_signal_len", "seed")
    settings = {**{key: hparams[key] for key in keys}, "augmentation": {key: hparams[key] for key in KEYS}}
    speakers, rate = hparams["num_spks"], hparams["sample_rate"]
    if hparams["metadata_folder"]:
        return made_mixtures(reader=MadeParts(speakers, rate, noisy=hparams["mixtures"] != "clean"), **settings)
    return stored_mixtures(num_spks=speakers, sample_rate=rate, **settings)


def prepare(hparams):
    """Write the manifests: of LibriMix's files, checked by a sample, or of what they would be made from."""
    shared = ("num_spks", "sample_rate", "mode", "mixtures", "train_subset", "check_files", "skip_prep")
    options, folders = {name: hparams[name] for name in shared}, [hparams["data_folder"], hparams["save_folder"]]
    more = {name: hparams[name] for name in ("metadata_folder", "wham_folder")}
    if hparams["metadata_folder"]:
        on_main(by_format(prepare_on_the_fly, hparams), *folders, **options, **more)
        return
    on_main(by_format(prepare_librimix, hparams), *folders, **options, verify_sum=hparams["verify_sum"])
    on_main(check_sample, *folders, **{name: hparams[name] for name in ("sample_checks", "verify_sum")})


def main(argv):
    """Prepare, train, test."""
    hparams, run_opts = start(argv, __file__)
    prepare(hparams)
    datasets, clock = dataio_prep(hparams)
    brain = Separation(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.fit_and_test(datasets, clock)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
