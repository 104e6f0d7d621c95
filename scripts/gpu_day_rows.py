"""The rows of a part: each is worked off once, and a JSON file has every one as soon as it is done."""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))  # before the parts are imported

from lobes.data.files import write_whole
from lobes.errors import UserError

# Each has TITLE, SECONDS (that a row may take) and rows(settings): label -> work that returns a dictionary.
PARTS = (
    "gpu_day_check",
    "gpu_day_scan",
    "gpu_day_tuning",
    "gpu_day_tests",
    "gpu_day_steps",
    "gpu_day_training",
)
DONE, LEFT, AGAIN = 0, 3, 4  # exit codes of a part: all rows are there, time is up, the device needs a new process
FAILED = "failed"  # the key of a row that has no result: the reason in one line
Row = dict[str, Any]


class Settings(NamedTuple):
    """What every part is given."""

    out: Path
    dry: bool  # on a CPU, in Triton's interpreter, with tiny shapes
    peer: Path | None = None  # mamba_ssm's sources
    recordings: Path | None = None  # of the trainings
    minutes: float = 8.0  # of each training

    @property
    def device(self) -> str:
        """The device of all tensors."""
        return "cpu" if self.dry else "cuda"


class PartFile:
    """The JSON file of a part.

    Arguments
    ---------
    path : Path
        `part_N.json` in the folder of the results.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @property
    def rows(self) -> dict[str, Row]:
        """The rows by their labels."""
        return self.content.setdefault("rows", {})  # type: ignore[no-any-return]

    def begin(self, about: Mapping[str, Any], dry: bool) -> None:
        """Take what a call before has left but for its failed rows; refuse what another commit has left."""
        same = {"commit": about["commit"], "dry": dry}
        for key, value in same.items():
            if self.content and self.content[key] != value:
                raise UserError(
                    f"{self.path} has {key} {self.content[key]}, and this call {value}. Give another folder with -o, "
                    "or delete the file."
                )
        good = {label: row for label, row in self.rows.items() if FAILED not in row}
        finished = self.content.get("finished", False) and good == self.rows
        self.content = {**about, **same, "finished": finished, "running": None, "rows": good}
        self.save()

    def set(self, **values: Any) -> None:
        """Change what is not a row."""
        self.content.update(values)
        self.save()

    def add(self, label: str, row: Row) -> None:
        """Keep a row."""
        self.rows[label] = row
        self.set(running=None)

    def save(self) -> None:
        """Write the file in one go."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(self.content, indent=1) + "\n")


def path_of(out: Path, number: int) -> Path:
    """The file of a part.

    Example
    -------
    >>> path_of(Path("day"), 3).as_posix()
    'day/part_3.json'
    """
    return out / f"part_{number}.json"


def part(number: int) -> ModuleType:
    """The module of a part."""
    return importlib.import_module(PARTS[number])


def work_off(number: int, settings: Settings, words: list[str], until: float, minutes: float) -> int:
    """Work off the rows of a part that are not there, as long as there is time.

    Arguments
    ---------
    number : int
        Of the part.
    settings : Settings
        What it is given.
    words : list of str
        Only rows whose label has one of them; none: all.
    until : float
        When the call ends, in seconds of `time.time`. A row does not start if it may take longer than that; one that
        needs more than nine tenths of a whole call starts at the call's begin.
    minutes : float
        Length of a call.

    Returns
    -------
    code : int
        DONE, LEFT or AGAIN.
    """
    file = PartFile(path_of(settings.out, number))
    try:
        module = part(number)
        todo = wanted(module.rows(settings), words)
    except Exception as error:
        traceback.print_exc()
        file.add("start", {FAILED: in_a_line(error)})
        return DONE
    needed = min(module.SECONDS, 0.9 * 60 * minutes)
    for label, work in todo.items():
        if label in file.rows:
            continue
        if time.time() + needed > until:
            return LEFT
        file.set(running=label)
        row = outcome(work)
        file.add(label, row)
        print(f"  {number} {label}: {row.get(FAILED, 'done')} ({row['took_seconds']} s)", flush=True)
        if FAILED in row and not usable(settings.device):
            return AGAIN
    file.set(finished=not words)
    return DONE


def wanted(rows: Mapping[str, Callable[[], Row]], words: list[str]) -> dict[str, Callable[[], Row]]:
    """The rows whose label has one of the words; all if there is none.

    Example
    -------
    >>> list(wanted({"SB a": dict, "SB b": dict}, ["b"]))
    ['SB b']
    """
    return {label: work for label, work in rows.items() if not words or any(word in label.split() for word in words)}


def outcome(work: Callable[[], Row]) -> Row:
    """The row, or the reason for which there is none, and how long it took."""
    begin = time.monotonic()
    try:
        row = work()
    except Exception as error:  # of one row; the others are worked off all the same
        traceback.print_exc()
        row = {FAILED: in_a_line(error)}
    return {**row, "took_seconds": round(time.monotonic() - begin, 1)}


def in_a_line(error: BaseException) -> str:
    """An error in one line.

    Example
    -------
    >>> in_a_line(ValueError("two\\n  lines"))
    'ValueError: two lines'
    """
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def usable(device: str) -> bool:
    """Whether the device still computes: after an illegal access no kernel runs in the same process."""
    if device == "cpu":
        return True
    import torch

    try:
        torch.cuda.empty_cache()  # after a lack of memory
        return bool(torch.ones(1, device=device).add(1).item() == 2)
    except Exception:
        print("the device no longer answers in this process", file=sys.stderr, flush=True)
        return False
