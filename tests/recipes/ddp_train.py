"""A recipe's main on one rank of several; in place of the test each rank leaves its parameters. Used by test_ddp.py.

> torchrun --nproc_per_node=2 ddp_train.py RECIPE_FOLDER OUT_FOLDER hparams/x.yaml --data_folder ...
"""

import os
import sys
from pathlib import Path

import torch

recipe, out, *words = sys.argv[1:]
os.chdir(recipe)
sys.path.insert(0, recipe)

import train  # noqa: E402  it lies in the recipe's folder

from lobes.training.brain import SeparationBrain  # noqa: E402


def leave_parameters(brain, *_, **__):
    rank = int(os.environ["RANK"])
    state = dict(brain.modules.state_dict())
    gan = getattr(brain.hparams, "metric_gan", None)
    if gan is not None:
        state |= {f"gan.{name}": value for name, value in gan.discriminator.state_dict().items()}
    torch.save({"state": state, "steps": brain.budget.steps}, Path(out) / f"rank{rank}.pt")


SeparationBrain.evaluate = leave_parameters
train.main(words)
