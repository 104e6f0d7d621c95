"""Rows of a scoring that is under way, so that one that was stopped goes on with what is left.

A row counts only for the very same signals, metrics and texts; what failed for a reason that may pass is scored again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lobes import __version__
from lobes.data.files import lacks_line_end, write_whole
from lobes.evaluation.job import KEY, ScoreJob
from lobes.evaluation.recognisers import fingerprint_of
from lobes.metrics import own

MAY_PASS = ("timeout", "worker crashed", "error:", "is not installed")  # parts of a status


class Journal:
    """The rows that a scoring has made so far, in a file of a line each.

    Arguments
    ---------
    path : Path
        Read where it exists, and written on.
    *others : Path
        Read as well: those of other processes that score the same.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.evaluation.job import score_job
    >>> x = np.sin(np.arange(8000.0))[:, None]
    >>> job = ScoreJob("a", x, x, x[:, 0], 8000, ("si_sdr",))
    >>> with TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         journal, scored = Journal(Path(folder, "scored.jsonl")), []
    ...         rows = list(journal.keep(score_job(scored.append(one) or one) for one in journal.left(iter([job]))))
    ...         print(len(scored), [row["id"] for row in rows])
    1 ['a']
    0 ['a']
    """

    def __init__(self, path: Path, *others: Path) -> None:
        self.path = path
        self.known = {key: row for one in (*others, path) for key, row in _read(one).items()}
        self.found: list[dict[str, Any]] = []  # of jobs that were asked for and are known
        self.asked: set[str] = set()  # all of their keys

    def left(self, jobs: Iterable[ScoreJob]) -> Iterator[ScoreJob]:
        """The jobs that have to be scored, with a key; the rows of the others come out of `keep`."""
        for job in jobs:
            key = job.key or key_of(job)
            if not self.take(key):
                yield replace(job, key=key)

    def take(self, key: str) -> bool:
        """Whether the row of a key is known; it then comes out of `keep`."""
        self.asked.add(key)
        if key in self.known:
            self.found.append(self.known[key])
        return key in self.known

    def keep(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass all rows on, without their keys, and write each new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            if lacks_line_end(self.path):
                file.write("\n")  # else the first new row would be lost with the one that was cut off
            for row in rows:
                yield self._written(row, file)
                yield from self._known()
        yield from self._known()

    def remove(self) -> None:
        """Forget all of it: the results are written."""
        self.path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Leave only the rows of what was asked for, for the next call."""
        rows = {key: row for key, row in _read(self.path).items() if key in self.asked}
        write_whole(self.path, "".join(_line(key, row) for key, row in rows.items()))

    def _known(self) -> Iterator[dict[str, Any]]:
        while self.found:
            yield self.found.pop()

    def _written(self, row: dict[str, Any], file: TextIO) -> dict[str, Any]:
        row = dict(row)
        key = row.pop(KEY)
        if not any(reason in row["status"] for reason in MAY_PASS):
            file.write(_line(key, row))
            file.flush()
        return row


def key_of(job: ScoreJob, made_by: str = "") -> str:
    """What a job's row depends on; `made_by` may stand for the estimates, so that they need not be made."""
    code = [own.fingerprint(name) for name in job.metrics if own.is_own(name)]
    heard_by = fingerprint_of(job.recogniser) if "wer" in job.metrics else ""
    asked = (job.sample_rate, [*job.metrics], job.improvement, job.score_input, np.shape(job.targets), __version__)
    said = (job.id, dict(job.conditions), [*job.texts], job.recogniser, heard_by, code, asked, job.untouched)
    signals = [np.ascontiguousarray(x, np.float64).tobytes() for x in (job.targets, job.mix)]
    made = made_by.encode() or np.ascontiguousarray(job.estimates, np.float64).tobytes()
    return sha256(b"".join([made, *signals, repr(said).encode(errors="surrogateescape")])).hexdigest()


def _line(key: str, row: dict[str, Any]) -> str:
    return json.dumps({"key": key, "row": row}) + "\n"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows by their keys; a line that was cut off in the middle is none."""
    if not path.is_file():
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            rows[entry["key"]] = entry["row"]
        except (ValueError, KeyError, TypeError):
            continue
    return rows
