"""The best trial as a recipe file of its own: the recipe as its base, and the values that differ."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

from optuna.trial import FrozenTrial
from ruamel.yaml import YAML

from lobes.config import read_recipe
from lobes.config.table import PLACES
from lobes.sweep.queue import number_of_folder
from lobes.sweep.sweep_file import Sweep
from lobes.sweep.table import score_of_trial
from lobes.sweep.trial_run import typed_value


def as_recipe(sweep: Sweep, trial: FrozenTrial, folder: Path) -> str:
    """The text of a recipe file in a folder that trains as a trial did.

    Options of the sweep are in it, but for places and for what says how SpeechBrain runs (device and the like).
    """
    typed = {**sweep.options, **{key: typed_value(value) for key, value in trial.params.items()}}
    kinds = read_recipe(sweep.recipe, typed.get("preset")).kinds
    keys = [key for key in typed if key in kinds and not key.endswith(PLACES)]
    base = Path(os.path.relpath(sweep.recipe, folder.resolve())).as_posix()
    values = {"base": base, **{key: kinds[key].read(typed[key]) for key in keys}}
    text, yaml = StringIO(), YAML()
    yaml.width = 1000
    yaml.dump(values, text)
    found = f"trial {number_of_folder(trial)}, score {score_of_trial(trial):.4g}"
    return f"# The best of the sweep {sweep.name}: {found}.\n{text.getvalue()}"
