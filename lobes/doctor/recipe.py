"""A recipe file with its data, in the process of its own that `lobes.doctor.child` is: prepare, check, take one step.

The recipe's own `train.py` runs, with all that it writes in a temporary folder, up to the point where it would train.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lobes.config.recipe_folders import script_of
from lobes.data.manifest import SPLITS
from lobes.doctor.data import check_data
from lobes.doctor.dry_run import measure
from lobes.doctor.finding import OK, Finding
from lobes.doctor.report import Reporter


def examine(arguments: Sequence[str], report: Reporter) -> None:
    """Run a recipe up to its training, and report on its data and, unless `data` is asked for, on one batch.

    Arguments
    ---------
    arguments : sequence of str
        "data" or "step", the recipe file, its options as for train.py.
    report : Reporter
        Everything that is written goes into the folder of its file.
    """
    from lobes.training.brain import SeparationBrain
    from lobes.training.debug import in_folder
    from lobes.training.launch import plain_settings, read_command_line

    wanted, *argv = arguments
    folder = report.path.parent / "run"
    report.at("options")
    settings = plain_settings(read_command_line(argv)[0])
    _take_manifests(Path(settings["save_folder"]), folder / "save")
    train = _load(script_of(Path(argv[0])))
    usual, start = SeparationBrain.fit_and_test, train.start

    def instead(brain: SeparationBrain, datasets: Any, clock: Any) -> None:
        _judge(brain, datasets, clock, wanted == "step", settings["output_folder"], report)

    def started(*words: Any) -> Any:
        made = start(*words)
        report.at("data preparation")
        return made

    report.at("network")
    train.start = started  # type: ignore[attr-defined]
    SeparationBrain.fit_and_test = instead  # type: ignore[method-assign,assignment]
    try:
        train.main(in_folder(argv, str(folder)))
    finally:
        SeparationBrain.fit_and_test = usual  # type: ignore[method-assign]


def _judge(brain: Any, datasets: Any, clock: Any, steps: bool, output_folder: str, report: Reporter) -> None:
    """What is done in the place of the training."""
    h = brain.hparams
    report.say(Finding(OK, "data preparation", "the recipe's own checks passed"))
    report.at("data")
    manifests = {split: Path(h.save_folder, f"{split}.csv") for split in SPLITS}
    _say_all(report, check_data(manifests, str(h.data_folder), h.sample_rate, sums=False))
    if steps:
        _say_all(report, measure(brain, datasets, clock, output_folder, report.at))


def _say_all(report: Reporter, findings: Any) -> None:
    for finding in findings:
        report.say(finding)


def _take_manifests(save: Path, into: Path) -> None:
    """Manifests that a run made before spare the preparation, if their options are the same."""
    into.mkdir(parents=True)
    for path in [*save.glob("*.csv"), *save.glob("*.json")]:
        shutil.copy(path, into)


def _load(script: Path) -> ModuleType:
    """The module of a train.py; what it imports from its own folder is found there."""
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location("train", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
