"""Scores of the runs of a comparison in a folder small enough to commit, from which the comparison goes on elsewhere.

A run that is not here, and whose scores are in that folder, counts as finished: its tables, its learning curve and its
times are put into its place, without weights. So several machines can share the runs of a comparison, one machine can
train them on several days though its disk is emptied in between, and whoever has no hours for trainings can compute
the table again. The folder holds one folder for each run, in which `lobes compare` finds its table of scores.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import out_of_domain

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.launcher import Run, differing_settings

SETTINGS = "settings.json"
SECOND = Path(out_of_domain.FOLDER)
COPIED = (names.SUMMARY, names.UTTERANCES, names.CURVE, SECOND / names.SUMMARY, SECOND / names.UTTERANCES)


def keep(run: Run, folder: Path) -> None:
    """Copy what a finished run measured into `folder`/<its name>, without the names of this machine's folders.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     run = Run("a", Path("/x/train.py"), "hparams/a.yaml", Path(place, "run"), {"data_folder": Path("/x/set")})
    ...     write_whole(run.folder / names.TRAIN_TIME, '{"steps": 5, "command": "python /x/train.py"}')
    ...     keep(run, Path(place, "scores"))
    ...     Path(place, "scores", "a", names.TRAIN_TIME).read_text().split()
    ['{', '"steps":', '5', '}']
    """
    place = folder / run.name
    write_whole(place / SETTINGS, as_json(settings_of(run)))
    for name in COPIED:
        if (run.folder / name).is_file():
            write_whole(place / name, (run.folder / name).read_bytes())
    train_time = read_json(run.folder / names.TRAIN_TIME)
    train_time.pop("command", None)  # it names folders
    write_whole(place / names.TRAIN_TIME, as_json(train_time))
    note = SECOND / out_of_domain.NOTE
    if (run.folder / note).is_file():
        tested = {**read_json(run.folder / note), "training": out_of_domain.digest(place / names.TRAIN_TIME)}
        write_whole(place / note, as_json(tested))


def restore(run: Run, folder: Path) -> None:
    """Put the scores of a run into its place if nothing of it is there.

    Raises
    ------
    UserError
        If they are those of other settings.

    Example
    -------
    >>> restore(Run("a", Path("/x/train.py"), "hparams/a.yaml", Path("/no/run")), Path("/no/scores"))
    """
    place = folder / run.name
    if not place.is_dir() or (run.folder / names.SAVE).exists() or run.finished():
        return
    known = read_json(place / SETTINGS)
    if known != settings_of(run):
        raise UserError(
            f"{place} holds scores of other settings ({differing_settings(known, settings_of(run))}). "
            "Give another --scores, or delete this one."
        )
    shutil.copytree(place, run.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SETTINGS))


def settings_of(run: Run) -> dict[str, Any]:
    """A run's settings; of folders and files only their names."""
    options = {key: value.name if isinstance(value, Path) else str(value) for key, value in run.options.items()}
    return {"hparams": Path(run.hparams).name, "options": options}


def as_json(content: Any) -> str:
    """A file's text."""
    return json.dumps(content, indent=1) + "\n"


def read_json(path: Path) -> Any:
    """A file's content."""
    return json.loads(path.read_text(encoding="utf-8"))
