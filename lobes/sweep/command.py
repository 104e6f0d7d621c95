"""What `lobes sweep` does: train the trials of a sweep, then write the table, the picture and the best recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.reports.tables import as_text
from lobes.sweep.storage import open_study
from lobes.sweep.sweep_file import Sweep, read_sweep
from lobes.training.checks import refuse_unwritable

if TYPE_CHECKING:
    from optuna.study import Study

SHOWN = 10  # rows on the screen
PAGE, PICTURE, BEST = "sweep.md", "sweep.svg", "best.yaml"


def run_sweep(
    file: Path, out: Path | None, storage: str | None, workers: int, threads: int, changes: Sequence[str]
) -> None:
    """Train the trials that are left of a sweep, and write what was found.

    Arguments
    ---------
    file : Path
        The sweep's YAML file.
    out : Path, optional
        The sweep's folder; by default results/sweeps/NAME.
    storage : str, optional
        As `lobes.sweep.storage.open_study` takes it.
    workers : int
        Trials at a time. The same command in another shell, or with a shared storage on another machine, adds more.
    threads : int
        CPU threads of each training; 0 leaves the choice to the machine.
    changes : sequence of str
        KEY=VALUE, options of every trial.

    Raises
    ------
    UserError
        For mistakes in the file, and if no trial was trained to its end.
    """
    sweep = read_sweep(file, pairs(changes))
    folder = (out or Path("results", "sweeps", sweep.name)).resolve()
    refuse_unwritable(folder, "--out")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "opening.lock"):
        study = open_study(sweep, storage, folder)
    from lobes.sweep.work import work

    print(f"{sweep.trials} trials of {sweep.recipe.name}, {workers} at a time. After a stop the same command goes on.")
    print(f"State in {folder}", flush=True)
    try:
        work(sweep, study, folder, workers, threads)
    finally:
        with FileLock(folder / "writing.lock"):
            text = write_results(sweep, study, folder)
    print(text, flush=True)


def pairs(words: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE as options.

    Raises
    ------
    UserError
        If one has no sign of equality, or a key comes twice.

    Example
    -------
    >>> pairs(["lr=0.1", "name=a=b"])
    {'lr': '0.1', 'name': 'a=b'}
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise UserError(f"--set: expected KEY=VALUE, got {word!r}.")
        if key in found:
            raise UserError(f"--set: {key} is given twice. Leave one of them out.")
        found[key] = value
    return found


def write_results(sweep: Sweep, study: Study, folder: Path) -> str:
    """Write the table, the picture and the best recipe of the trials so far; returns the table for the screen."""
    from lobes.sweep import table
    from lobes.sweep.best import as_recipe
    from lobes.sweep.plot import as_picture

    picture, found = as_picture(sweep, study), table.trained(study)
    if picture is not None:
        write_whole(folder / PICTURE, picture)
    write_whole(folder / PAGE, table.as_page(sweep, study, PICTURE if picture else None))
    rows = table.rows(sweep, study)
    text = "\n" + as_text(table.header(sweep), rows[:SHOWN]) if rows else "no trial has begun"
    if not found:
        return f"{text}\n\nno trial was trained to its end; {folder / PAGE} lists them"
    write_whole(folder / BEST, as_recipe(sweep, found[0], folder))
    return f"{text}\n\nwrote {folder / PAGE} and the best trial as a recipe, {folder / BEST}"
