#!/usr/bin/env python3
"""Train, validate and test a separator on LibriMix: two or three speakers, clean or in noise.

> python train.py hparams/spmamba.yaml --data_folder /data/LibriMix

The same command resumes a stopped run; a finished one is only tested again.
"""

import sys

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

from librimix_prepare import prepare_librimix

from lobes.errors import exit_on_user_error
from lobes.training.mixtures import main as train

OPTIONS = (
    *("num_spks", "sample_rate", "mode", "mixtures", "train_subset"),
    *("check_files", "verify_sum", "skip_prep"),
)


def main(argv):
    """Prepare, train, test."""
    train(argv, __file__, prepare_librimix, OPTIONS)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
