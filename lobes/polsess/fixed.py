"""The items of valid and test: the variant follows from the ID, or stands in the manifest. T samples, S sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lobes.data.manifest import speaker_condition
from lobes.errors import UserError
from lobes.polsess import variants
from lobes.polsess.mmipc import files_read, fixed_variant, plan, render
from lobes.polsess.variants import TASKS, in_improvement_mean, list_names

Row = Mapping[str, str]
PARTS = ("scene_wav", "event_wav")  # columns that no other data set has


class FixedVariants:
    """How rows of a PolSESS manifest become items of a task, as the recipe tests them.

    Arguments
    ---------
    task : str
        ES, EB or SB.

    Example
    -------
    >>> row = {"ID": "a", "mix_wav": "m", "s1_wav": "s", "scene_wav": "n", "event_wav": "e", "variant": "SE"}
    >>> layout = FixedVariants("ES")
    >>> layout.columns(row)
    ('s1_wav', 'scene_wav', 'event_wav')
    >>> mix, sources, conditions, improvement = layout.item(row, read=lambda path: np.ones(8, np.float32))
    >>> mix.shape, sources.shape, conditions, improvement
    ((8,), (8, 1), {'variant': 'SE'}, True)
    """

    group_by = "variant"

    def __init__(self, task: str) -> None:
        self.task = task

    def variant(self, row: Row) -> str:
        """The column `variant` where it is filled, else the one that the ID gives."""
        return row.get("variant") or fixed_variant(row["ID"], _indoor(row))

    def columns(self, row: Row) -> tuple[str, ...]:
        """The columns of the files that are read for a row."""
        try:
            choice = plan(self.task, self.variant(row), _indoor(row))
        except UserError as error:  # a variant of the user's own column
            raise UserError(f"{row['ID']}: {error}") from error
        return tuple(f"{part}_wav" for part in files_read(self.task, choice))

    def item(self, row: Row, read: Callable[[str], np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, str], bool]:
        """Input [T], targets [T,S], the variant, and whether an improvement over the input means something."""
        variant = self.variant(row)
        mix, sources = render(self.task, variant, _indoor(row), lambda part: read(row[f"{part}_wav"]))
        conditions = {self.group_by: variant, **speaker_condition(heard(row, self.task))}
        return mix, sources, conditions, in_improvement_mean(self.task, variant)


def heard(row: Row, task: str) -> dict[str, str]:
    """A row without the speakers whom the task leaves out of the mixture.

    Example
    -------
    >>> heard({"ID": "a", "speaker1": "anna", "speaker2": "jan"}, "ES")
    {'ID': 'a', 'speaker1': 'anna'}
    """
    speaking = {f"speaker{part.removeprefix('s')}" for target in variants.target_parts(task) for part in target}
    return {key: value for key, value in row.items() if not key.startswith("speaker") or key in speaking}


def layout_of(row: Row, num_sources: int, task: str | None = None, trained: str | None = None) -> FixedVariants | None:
    """How the rows of a manifest are evaluated: None where it is not PolSESS's.

    Arguments
    ---------
    row : mapping
        The filled columns.
    num_sources : int
        Of the model; with two, the task can only be SB.
    task : str, optional
        The task asked for.
    trained : str, optional
        The task that the model was trained on, where it is known.

    Raises
    ------
    UserError
        A task where the manifest is not PolSESS's, one with another number of sources than the model's, or none where
        it must be said which is meant.

    Example
    -------
    >>> layout_of({"ID": "a", "mix_wav": "m", "s1_wav": "s"}, 1, trained="ES") is None
    True
    >>> layout_of({"ID": "a", "scene_wav": "n", "event_wav": "e"}, 2).task
    'SB'
    """
    missing = [column for column in PARTS if not row.get(column)]
    if missing:
        if task:
            raise UserError(f"--task {task} is for manifests of PolSESS; this one has no {list_names(missing)}.")
        return None
    fitting = [name for name in TASKS if variants.num_sources(name) == num_sources]
    chosen = task or trained or (fitting[0] if len(fitting) == 1 else None)
    if chosen is None and fitting:
        raise UserError(f"a manifest of PolSESS, and the model's task is unknown. Add --task {' or '.join(fitting)}.")
    if chosen not in fitting:
        sources = f", task {chosen} has {variants.num_sources(chosen)}" if chosen else ""
        raise UserError(f"the model gives {num_sources} source(s){sources}. PolSESS has the tasks {list_names(TASKS)}.")
    return FixedVariants(chosen)


def _indoor(row: Row) -> bool:
    return bool(row.get("sp1_reverb_wav"))
