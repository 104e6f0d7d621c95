#!/usr/bin/env python3
"""Train, validate and test a separator on mixtures of your own, see custom_prepare.py.

> python train.py hparams/spmamba.yaml --data_folder /data/custom

The same command resumes a stopped run; a finished one is only tested again.
"""

import sys

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

from custom_prepare import prepare_custom

from lobes.errors import exit_on_user_error
from lobes.training.mixtures import main as train

OPTIONS = ("num_spks", "sample_rate", "check_files", "verify_sum", "skip_prep")


def main(argv):
    """Prepare, train, test."""
    train(argv, __file__, prepare_custom, OPTIONS)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
