"""A recipe's main on one rank of several; in place of the test each rank leaves its parameters. Used by test_ddp.py.

> torchrun --nproc_per_node=2 ddp_train.py RECIPE_FOLDER OUT_FOLDER hparams/x.yaml --data_folder ...
"""

import importlib
import os
import sys
from pathlib import Path


def main(recipe, out, *words):
    """Run train.py of the recipe's folder, without its test."""
    os.chdir(recipe)
    sys.path.insert(0, recipe)

    import torch

    from lobes.training.brain import SeparationBrain

    def leave_parameters(brain, *_, **__):
        state = dict(brain.modules.state_dict())
        gan = getattr(brain.hparams, "metric_gan", None)
        if gan is not None:
            state |= {f"gan.{name}": value for name, value in gan.discriminator.state_dict().items()}
        torch.save({"state": state, "steps": brain.budget.steps}, Path(out) / f"rank{os.environ['RANK']}.pt")

    SeparationBrain.evaluate = leave_parameters
    importlib.import_module("train").main(list(words))


if __name__ == "__main__":
    main(*sys.argv[1:])
