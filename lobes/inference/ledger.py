"""Which files of a folder are finished: a JSON line for each, with what they were made by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lobes.inference.inputs import Item

NAME = "lobes_files.jsonl"


def digest_of(modules: nn.Module, name: str = "") -> str:
    """The sha256 of a model's weights, and of a name where a model has one instead.

    Example
    -------
    >>> digest_of(nn.Linear(2, 2).requires_grad_(False))[:3] != digest_of(nn.Identity())[:3]
    True
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape"))
    for key, value in sorted(modules.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Ledger:
    """The list of files that lies in an output folder.

    Arguments
    ---------
    folder : Path
        The output folder.
    made_by : mapping
        The model and the settings, as plain values: files that others made are done again.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "a.wav").touch()
    ...     item = Item(Path(folder, "a.wav"), [])
    ...     ledger = Ledger(Path(folder), {"model": "x"})
    ...     ledger.add(item, "")
    ...     Ledger(Path(folder), {"model": "x"}).finished(item), Ledger(Path(folder), {"model": "y"}).finished(item)
    (True, False)
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self.path, self.folder = folder / NAME, folder
        self.made_by = json.loads(json.dumps(made_by))
        self.lines = {line["input"]: line for line in self._read()}

    def finished(self, item: Item) -> bool:
        """Whether the outputs of an input are there, made of this very file by this model with these settings."""
        line = self.lines.get(_key(item.path))
        if line is None or line["failed"] or line["made_by"] != self.made_by or line["state"] != _state(item.path):
            return False
        outputs = {_key(target): _size(target) for target in item.targets}
        return line["outputs"] == outputs and None not in outputs.values()

    def add(self, item: Item, failed: str) -> None:
        """Append an input, with the reason if it failed."""
        outputs = {} if failed else {_key(target): _size(target) for target in item.targets}
        state = _state(item.path)
        line = {"input": _key(item.path), "state": state, "outputs": outputs, "failed": failed, "made_by": self.made_by}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines[line["input"]] = line

    def _read(self) -> list[dict[str, Any]]:
        """The lines that can be read: the last may have been cut off."""
        if not self.path.is_file():
            return []
        found = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and {"input", "state", "outputs", "failed", "made_by"} <= line.keys():
                found.append(line)
        return found


def _key(path: Path) -> str:
    return os.path.abspath(path)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _state(path: Path) -> list[int]:
    """What changes with a file."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
