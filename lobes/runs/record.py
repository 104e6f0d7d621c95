"""The results, the learning curve and the progress that a training run wrote into its folder."""

from __future__ import annotations

import csv
import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.table import read_per_utterance


@dataclass(frozen=True)
class Outcome:
    """The results of a finished run: its summary, its costs, its learning curve and its table of scores."""

    summary: dict[str, Any]
    train_time: dict[str, Any]
    curve: list[dict[str, str]]
    utterances: list[dict[str, Any]]

    @property
    def trained(self) -> tuple[int, float]:
        """Steps and seconds of the whole training; the tested checkpoint may be an earlier one."""
        return int(self.train_time["steps"]), float(self.train_time["seconds"])


def collect(folder: Path) -> Outcome:
    """Read what a finished run wrote.

    Raises
    ------
    UserError
        If a file is missing.
    """
    missing = [name for name in names.FINISHED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} holds no finished run: {', '.join(missing)} missing. Start the command again.")
    return Outcome(
        json.loads((folder / names.SUMMARY).read_text(encoding="utf-8")),
        json.loads((folder / names.TRAIN_TIME).read_text(encoding="utf-8")),
        curve(folder),
        read_per_utterance(folder / names.UTTERANCES),
    )


def curve(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's learning curve so far, none before the first epoch has ended."""
    path = folder / names.CURVE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str | float | None) -> float:
    """Read a cell as a number; what is empty or no number is NaN.

    Example
    -------
    >>> number("1.5"), number(""), number(None)
    (1.5, nan, nan)
    """
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def named(name: str, value: float, form: str = ".2f", unit: str = "") -> str:
    """A number with its name, for a line of a log; where it does not exist, the line says that.

    Example
    -------
    >>> named("SI-SDRi", 3.456, unit=" dB"), named("SI-SDRi", math.nan, unit=" dB")
    ('SI-SDRi 3.46 dB', 'no SI-SDRi')
    """
    return f"{name} {value:{form}}{unit}" if math.isfinite(value) else f"no {name}"


def progress(folder: Path) -> str:
    """Describe how far a run is, from the last row of its learning curve."""
    rows = curve(folder)
    if not rows:
        return "starting"
    last = rows[-1]
    quality = f", {named('PESQ', number(last['valid_pesq']))}" if "valid_pesq" in last else ""
    improvement = named("SI-SDRi", number(last["valid_si_sdri"]), unit=" dB")
    return f"step {last['step']}, {number(last['seconds']):.0f} s, valid {improvement}{quality}"


def last_words(folder: Path, verb: str, debug: bool = False) -> str:
    """Where a run's results are and which commands come next, ready for a shell.

    Example
    -------
    >>> print(last_words(Path("my runs/1"), "separate").splitlines()[-1].strip())
    lobes export 'my runs/1' exported
    """
    if debug:
        return f"debug: what was written is in {folder}; no model is kept"
    there = [name for name in (names.SUMMARY, names.UTTERANCES, names.CURVE, names.AUDIO) if (folder / name).exists()]
    run = shlex.quote(str(folder))
    mixtures = sorted((folder / names.AUDIO).glob("*/mix.wav"))
    file = shlex.quote(str(mixtures[0])) if mixtures else "FILE"
    return (
        f"results in {run}: {', '.join(there)}\nnext:\n"
        f"  lobes {verb} {run} {file} -o out\n  lobes export {run} exported"
    )
