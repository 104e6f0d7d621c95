"""The starts of a run: what a start runs, the history of a folder's starts, and how far its run has come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.checkpoints import END_OF_EPOCH, newest, number
from lobes.runs.provenance import command, commit


@dataclass(frozen=True)
class Start:
    """A start of a run: the first one in its folder, or one that goes on there."""

    text: str  # the resolved recipe file that holds for it
    step: int = 0  # optimizer steps that the folder's run has taken
    trains: bool = True  # False: nothing but the test is left
    header: str = ""  # of the file that is there, where nothing is trained
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # key -> before, now


class Progress(NamedTuple):
    """What the newest checkpoint of a run counts."""

    steps: int = 0
    seconds: float = 0.0
    epochs: int = 0  # whole ones
    epochs_without: int = 0  # a better validation score


def note_start(start: Start, folder: Path, script: str, argv: Sequence[str], header: str) -> None:
    """Write what this start runs into the folder: `hyperparams.yaml`, and a line of the history.

    A start that trains nothing leaves the file as the training wrote it, but for options of the test.
    """
    if start.trains or start.changed:
        write_whole(folder / names.HYPERPARAMS, (start.header or header) + start.text)
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "commit": commit(), "recipe": recipe_of(script),
        "command": command(script, list(argv)), "cwd": os.getcwd(), "step": start.step, "trains": start.trains,
        "changed": {key: [plain(old), plain(new)] for key, (old, new) in start.changed.items()},
    }  # fmt: skip
    path = folder / names.STARTS
    known = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_whole(path, known + json.dumps(record, ensure_ascii=False) + "\n")


def changes_in_words(start: Start) -> list[str]:
    """A line for each option that is not what it was, but for those of places.

    Example
    -------
    >>> changes_in_words(Start("", changed={"lr": (0.1, 0.2), "output_folder": ("a", "b")}))
    ['from here on with lr: 0.2 (0.1 before)']
    """
    changed = [(key, *values) for key, values in start.changed.items() if key not in ("output_folder", "train_log")]
    return [f"from here on with {key}: {new} ({old} before)" for key, old, new in changed]


def newest_progress(save: Path) -> Progress:
    """What the newest whole checkpoint in a run's folder `save` counts; nothing where there is none yet.

    Raises
    ------
    UserError
        If there are checkpoints and none can be used: going on would be a start from zero.
    """
    one = newest(save)
    if one is None:
        return Progress()
    budget, stopping, epochs = (_json(one.path / name) for name in names.COUNTS)
    steps, seconds = _count(budget, "steps"), _count(budget, "seconds")
    done = int(_count({"": epochs}, "")) - (not one.meta[END_OF_EPOCH])
    return Progress(int(steps), seconds, done, int(_count(stopping, "epochs_without")))


def recipe_of(script: str | Path) -> str:
    """The recipe of a train.py: the name of its folder."""
    return Path(script).resolve().parent.name


def last_start(folder: Path) -> dict[str, Any]:
    """The last line of a folder's history; empty in a folder without one.

    Raises
    ------
    UserError
        If that line is none of ours.
    """
    path = folder / names.STARTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        last = json.loads(lines[-1]) if lines else {}
    except (ValueError, RecursionError):
        last = None
    if not isinstance(last, dict) or not isinstance(last.get("cwd", ""), str):
        raise UserError(f"{path}: the last line is no record of a start. Bring the file back from a copy or delete it.")
    return last


def plain(value: Any) -> Any:
    """A value that JSON can hold; the tag of a constructed one is part of it."""
    if isinstance(value, Mapping):
        content: Any = {str(key): plain(one) for key, one in value.items()}
    elif isinstance(value, list | tuple):
        content = [plain(one) for one in value]
    elif value is None or isinstance(value, bool | int | float):
        content = value
    else:
        content = str(getattr(value, "value", value))
    return [tag_of(value), content] if tag_of(value) else content


def tag_of(value: Any) -> str:
    """The YAML tag of a node, such as `!new:package.Class`; empty for plain values."""
    return str(getattr(getattr(value, "tag", None), "value", None) or "")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _count(counts: Any, key: str) -> float:
    """A number of a checkpoint's counts; 0 where there is none, as in a folder that no training of ours wrote."""
    return max(0.0, number(counts.get(key))) if isinstance(counts, dict) else 0.0
