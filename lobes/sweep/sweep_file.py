"""The file of a sweep: which recipe, which values of every trial, what is searched, and how many trials there are.

docs/experiments.md describes its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lobes.config import read_recipe
from lobes.config.kinds import Kind
from lobes.config.recipe_folders import find_recipe_file
from lobes.config.references import read_yaml
from lobes.config.table import PLACES
from lobes.errors import UserError, did_you_mean
from lobes.sweep.space import SearchList, SearchRange, read_space, typed

SAMPLERS = ("tpe", "random")
PRUNING = {"after_trials": 5, "after_epochs": 1}
KINDS = {
    "trials": Kind(int, low=1),
    "seed": Kind(int, low=0, high=2**32 - 1),
    "sampler": Kind(str, choices=SAMPLERS),
    "score": Kind(str, low=1, null=True),
}
DEFAULTS: dict[str, Any] = {"options": {}, "seed": 1234, "sampler": "tpe", "pruning": PRUNING, "score": None}
KEYS = ("recipe", "search", "trials", *DEFAULTS)
TAKEN = ("output_folder", "save_folder", "train_log")  # each trial has its own


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file and the command line describe it.

    Arguments
    ---------
    name : str
        Of the file; also of the study in the storage.
    recipe : Path
        The recipe's file.
    search : mapping
        Key of the recipe -> what is searched.
    trials : int
        How many.
    options : mapping
        Key of the recipe -> text, the same in every trial.
    seed, sampler
        Of the choice of values.
    pruning : mapping, optional
        A trial is stopped whose best score is below the median of the others at its epoch; `after_trials` of them are
        trained to their end first, and each trains `after_epochs` epochs at least.
    score : str, optional
        A column of the learning curve, whose highest value counts.
    """

    name: str
    recipe: Path
    search: Mapping[str, SearchRange | SearchList]
    trials: int
    options: Mapping[str, str] = field(default_factory=dict)
    seed: int = DEFAULTS["seed"]
    sampler: str = DEFAULTS["sampler"]
    pruning: Mapping[str, int] | None = None
    score: str | None = None

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same when a sweep goes on; places may differ from machine to machine."""
        kept = {key: text for key, text in self.options.items() if not key.endswith(PLACES)}
        space = {key: str(one.distribution()) for key, one in self.search.items()}
        recipe = f"{self.recipe.parent.parent.name}/{self.recipe.name}"
        return {"recipe": recipe, "options": kept, "search": space, "seed": self.seed, "sampler": self.sampler,
                "score": self.score}  # fmt: skip


def read_sweep(path: Path, changes: Mapping[str, str] | None = None) -> Sweep:
    """Read the file of a sweep, and check every name, value and end of a range in it before anything is trained.

    Arguments
    ---------
    path : Path
        The YAML file.
    changes : mapping, optional
        Further options of every trial, which replace those of the file.

    Raises
    ------
    UserError
        For whatever is missing, misspelt or out of range.
    """
    if not path.is_file():
        raise UserError(f"no such sweep file: {path}. Expected a YAML file with {', '.join(KEYS)}.")
    keys = {**DEFAULTS, **read_yaml(path)}
    _check_keys(path, keys)
    recipe = _recipe(path, str(keys["recipe"]))
    options = {str(key): typed(value) for key, value in keys["options"].items()} | dict(changes or {})
    options = {key: _placed(key, text) for key, text in options.items()}
    kinds = _kinds(recipe, options, keys["search"])
    search = {
        str(key): read_space(str(path), str(key), node, whole=key in kinds and kinds[key].type is int)
        for key, node in keys["search"].items()
    }
    pruning = None if keys["pruning"] is None else {**PRUNING, **keys["pruning"]}
    plain = {key: keys[key] for key in KINDS}
    sweep = Sweep(path.stem, recipe, search, options=options, pruning=pruning, **plain)
    _check_values(path, sweep)
    return sweep


def _check_keys(path: Path, keys: Mapping[str, Any]) -> None:
    for key in keys:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r} of a sweep.{did_you_mean(str(key), KEYS)}")
    if missing := [key for key in KEYS if key not in keys]:
        raise UserError(f"{path}: {', '.join(missing)} missing. A sweep needs recipe, search and trials.")
    problems = [f"{key}: {problem}." for key, kind in KINDS.items() if (problem := kind.problem(keys[key]))]
    if not isinstance(keys["options"], Mapping):
        problems.append(f"options: expected key: value, got {keys['options']!r}.")
    if not isinstance(keys["search"], Mapping) or not keys["search"]:
        problems.append(f"search: expected key: range or list of values, got {keys['search']!r}.")
    pruning = keys["pruning"]
    counts = Kind(dict, choices=tuple(PRUNING), null=True, items=Kind(int, low=0))
    if counts.problem(pruning):
        problems.append(f"pruning: expected {{after_trials: 5, after_epochs: 1}} or null, got {pruning!r}.")
    if problems:
        raise UserError(f"{path}: {' '.join(problems)}")


def _recipe(path: Path, word: str) -> Path:
    """The recipe's file, by a path from the sweep's own folder or by its name."""
    near = path.parent / word
    return find_recipe_file(str(near) if near.is_file() else word).resolve()


def _placed(key: str, text: str) -> str:
    """A folder or file from here on by its whole path: a training is started in another folder."""
    return str(Path(text).resolve()) if key.endswith(PLACES) and Path(text).exists() else text


def _kinds(recipe: Path, options: Mapping[str, str], search: Mapping[str, Any]) -> dict[str, Kind]:
    """The kinds of the recipe's keys, with any of the presets that the sweep names."""
    found = search.get("preset", [options.get("preset")])
    presets = found if isinstance(found, list) else [None]
    return {key: kind for preset in presets for key, kind in read_recipe(recipe, preset).kinds.items()}


def _check_values(path: Path, sweep: Sweep) -> None:
    """Resolve the recipe with each value of a list and both ends of each range."""
    from lobes.training.launch import read_command_line

    for key in TAKEN:
        if key in {*sweep.options, *sweep.search}:
            raise UserError(f"{path}: {key}: every trial has a folder of its own; leave it out.")
    if both := [key for key in sweep.search if key in sweep.options]:
        raise UserError(f"{path}: {both[0]} stands under search and under options. Leave one of them out.")
    presets = sweep.search["preset"].ends() if "preset" in sweep.search else [None]
    others = {key: space for key, space in sweep.search.items() if key != "preset"}
    for preset in presets:
        first = {key: space.ends()[0] for key, space in others.items()} | ({"preset": preset} if preset else {})
        for one in [{}, *({key: text} for key, space in others.items() for text in space.ends()[1:])]:
            values = {**sweep.options, "output_folder": "none", **first, **one}
            words = [f"--{key}={text}" for key, text in values.items()]
            try:
                read_command_line([str(sweep.recipe), *words])
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
