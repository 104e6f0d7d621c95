#!/usr/bin/env python3
"""Train, validate and test a separator on WSJ0-2mix or WSJ0-3mix.

> python train.py hparams/spmamba.yaml --data_folder /data/wsj0-mix/2speakers

The same command resumes a stopped run; a finished one is only tested again.
"""

import sys

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

from wsj0mix_prepare import prepare_wsj0mix

from lobes.errors import exit_on_user_error
from lobes.training.mixtures import main as train

OPTIONS = ("num_spks", "sample_rate", "mode", "check_files", "verify_sum", "skip_prep")


def main(argv):
    """Prepare, train, test."""
    train(argv, __file__, prepare_wsj0mix, OPTIONS)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
