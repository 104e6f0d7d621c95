#!/usr/bin/env python3
"""Write what a training costs into docs/costs.md: for each recipe file and each preset, predicted or measured.

> python scripts/cost_tables.py

Nothing is run. Operations come from the table of docs/models.md, seconds and memory of steps on a processor from
benchmarks/results/training.json, batches, lengths and epochs from the recipe files. docs/costs.md has the formulas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from model_cards import model_rows

from lobes.config import read_recipe
from lobes.config.recipe_folders import all_recipes, recipe_files, recipe_folder
from lobes.data.arguments import Parser
from lobes.errors import exit_on_user_error
from lobes.models import list_models
from lobes.models.registry import preset_meta
from lobes.reports.tables import replace_section

ROOT = Path(__file__).resolve().parents[1]
PAGE, STEPS = ROOT / "docs" / "costs.md", ROOT / "benchmarks" / "results" / "training.json"
PASSES = 3  # forward passes that a step costs: one forward, about two backward
BYTES = 16  # for a parameter: weight, gradient and two moments of Adam, fp32
# SpeechBrain's README of WSJ0Mix: about 2 hours for an epoch of SepFormer on a V100; the set has 30 hours of mixtures.
KNOWN, KNOWN_HOURS, KNOWN_AUDIO = "sepformer", 2.0, 30.0
MOST_STEPS = 10.0  # in a second that are predicted: reading data and starting kernels take time, too
# Data set -> training examples and hours, where all users have the same; docs/costs.md has the sources.
SETS = {"WSJ0Mix": (20_000, 30.0), "LibriMix": (50_800, 212.0), "VoiceBank": (10_802, 8.8)}
ENHANCEMENT, SEPARATION = ("VoiceBank", "bsrnn.yaml"), ("custom", "spmamba.yaml")  # recipe files for presets
UNKNOWN, NO_BREAK = "-", "\u00a0"
RECIPE_HEAD = (
    "Recipe file", "Network", "Batch", "TMAC a step", "GPU memory, predicted", "GPU steps/s, predicted",
    "Steps an epoch", "GPU hours an epoch, predicted", "Epochs at most",
)  # fmt: skip
PRESET_HEAD = (
    "Preset", "Batch", "TMAC a step", "GPU memory, predicted", "GPU steps/s, predicted",
    "CPU step, measured", "CPU memory, measured",
)  # fmt: skip


class Training(NamedTuple):
    """What a recipe file says of a step."""

    preset: str
    batch: int  # examples in a step
    at_once: int  # examples that the memory holds
    seconds: float  # of an example
    precision: str
    epochs: int


class Measured(NamedTuple):
    """A step of one example on a processor: seconds of audio -> seconds and megabytes; empty where it failed."""

    precision: str
    wall: dict[float, float]
    megabytes: dict[float, float]


def main() -> None:
    """Write both tables."""
    Parser(description=__doc__.splitlines()[0]).parse_args()
    costs = Costs(model_rows(), json.loads(STEPS.read_text(encoding="utf-8")))
    for name, text in (("recipe-costs", costs.of_recipes()), ("preset-costs", costs.of_presets())):
        replace_section(PAGE, name, text)
    print(f"wrote {PAGE}")


class Costs:
    """The tables, from the rows of docs/models.md and of the step table."""

    def __init__(self, models: Mapping[str, Mapping[str, str]], steps: Mapping[str, Any]) -> None:
        self.gmacs = {preset: float(row["GMAC/s"]) for preset, row in models.items()}
        self.parameters = {preset: int(row["Parameters"].replace(",", "")) for preset, row in models.items()}
        self.rows = [row for row in steps["rows"] if not row["checkpointing"]]
        self.rate = PASSES * self.gmacs[KNOWN] * 1e9 * KNOWN_AUDIO / KNOWN_HOURS  # MAC a second

    def macs(self, one: Training) -> float:
        """Multiply-accumulates of a step."""
        return PASSES * self.gmacs[one.preset] * 1e9 * one.seconds * one.batch

    def steps_a_second(self, one: Training) -> float:
        """Optimizer steps on a GPU like that of `KNOWN`."""
        return min(MOST_STEPS, self.rate / self.macs(one))

    def gigabytes(self, one: Training) -> float | None:
        """Memory of a step on a GPU: the parameters, and what each second of audio adds on a processor."""
        known = self.measured(one.preset, one.precision)
        if len(known.megabytes) < 2:
            return None
        (short, less), (long, more) = sorted(known.megabytes.items())
        added = (more - less) / (long - short) * one.seconds * one.at_once / 1024
        return BYTES * self.parameters[one.preset] / 2**30 + added

    def measured(self, preset: str, precision: str) -> Measured:
        """The steps of a preset, in the recipe's precision or else in the other one, where both lengths are known."""
        other = {"fp32": "bf16"}.get(precision, "fp32")
        found = [self._steps(preset, kind) for kind in (precision, other)]
        return next((one for one in found if len(one.megabytes) == 2), found[0])

    def _steps(self, preset: str, precision: str) -> Measured:
        mine = [row for row in self.rows if (row["preset"], row["precision"]) == (preset, precision)]
        done = [row for row in mine if "failed" not in row]
        return Measured(
            precision,
            {row["seconds"]: row["wall_median"] for row in done},
            {row["seconds"]: row["peak_megabytes"] for row in done},
        )

    def of_recipes(self) -> str:
        """The table of the recipe files."""
        files = [(name, path) for name, folder in all_recipes().items() for path in recipe_files(folder)]
        return as_table(RECIPE_HEAD, (self.recipe_row(name, path) for name, path in files), 2)

    def recipe_row(self, name: str, path: Path) -> list[str]:
        """The row of a recipe file."""
        one = training_of(path, None, name)
        examples = SETS.get(name, (0,))[0]
        steps = -(-examples // one.batch)
        hours = steps / self.steps_a_second(one) / 3600
        return [
            f"`{name}/{path.name}`",
            f"`{one.preset}`",
            batch_words(one),
            *self.predicted(one),
            f"{steps:,}" if examples else UNKNOWN,
            f"{hours:.2g}" if examples else UNKNOWN,
            str(one.epochs),
        ]

    def of_presets(self) -> str:
        """The table of the presets."""
        return as_table(PRESET_HEAD, map(self.preset_row, list_models()), 1)

    def preset_row(self, preset: str) -> list[str]:
        """The row of a preset, with what its file says of the training."""
        name, file = ENHANCEMENT if preset_meta(preset)["num_sources"] == 1 else SEPARATION
        one = training_of(recipe_folder(name) / "hparams" / file, preset, name)
        known = self.measured(preset, "fp32")
        longest = max(known.wall, default=0.0)
        note = f", {longest:g} s, {known.precision}" if longest else ""
        return [
            f"`{preset}`",
            batch_words(one),
            *self.predicted(one),
            f"{known.wall[longest]:.2f} s{note}" if longest else "not measured",
            f"{known.megabytes[longest] / 1024:.2f} GB" if longest else "not measured",
        ]

    def predicted(self, one: Training) -> list[str]:
        """Operations, memory and speed."""
        memory, speed = self.gigabytes(one), self.steps_a_second(one)
        return [
            f"{self.macs(one) / 1e12:.3g}",
            "not predicted" if memory is None else f"{memory:.1f} GB",
            f"{MOST_STEPS:g}" if speed == MOST_STEPS else f"{speed:.2g}",
        ]


def training_of(path: Path, preset: str | None, name: str) -> Training:
    """What a recipe file says of a step, with its own or another preset."""
    keys = read_recipe(path, preset).tree
    examples, hours = SETS.get(name, (1, float("inf")))
    whole = 3600 * hours / examples  # where they are not cut
    seconds = min(keys["training_signal_len"] / keys["sample_rate"], whole)
    at_once = keys["batch_size"]
    batch = at_once * keys["grad_accumulation_factor"]
    return Training(keys["preset"], batch, at_once, seconds, keys["precision"], keys["N_epochs"])


def batch_words(one: Training) -> str:
    """A batch in words."""
    return f"{one.batch} x {one.seconds:.2g} s, {one.precision}".replace(" ", NO_BREAK, 3)


def as_table(head: Sequence[str], rows: Iterable[Sequence[str]], names: int) -> str:
    """A table in Markdown; the first columns are names, the others stand at the right."""
    ruler = ["---"] * names + ["---:"] * (len(head) - names)
    return "\n".join([f"| {' | '.join(head)} |", f"|{'|'.join(ruler)}|", *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    with exit_on_user_error():
        main()
