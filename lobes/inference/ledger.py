"""Which files of a folder are finished: a JSON line for each, with what they were made by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lobes.data.files import lacks_line_end
from lobes.errors import UserError
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
    ...     item = Item(Path(folder, "a.wav"), [Path(folder, "a_s1.wav")])
    ...     item.path.touch(), item.targets[0].touch()
    ...     Ledger(Path(folder), {"model": "x"}).add(item, "")
    ...     Ledger(Path(folder), {"model": "x"}).finished(item), Ledger(Path(folder), {"model": "y"}).finished(item)
    (None, None)
    (True, False)
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self.path, self.folder = folder / NAME, folder
        self.made_by = json.loads(json.dumps(made_by, default=str))
        self.states: dict[str, list[int] | None] = {}  # of inputs, before the work
        self.lines: dict[str, dict[str, Any]] = {}  # output -> the last line that has it
        for line in _read(self.path):
            self._take(line)

    def finished(self, item: Item) -> bool:
        """Whether the outputs of an input are there, made of this very file by this model with these settings.

        What the input is now counts as what the outputs will be made of: one that changes meanwhile is done again.
        """
        state = self.states[_key(item.path)] = _state(item.path)
        line = self.lines.get(self._name(item.targets[0]))
        if state is None or line is None or line["state"] != state or line["made_by"] != self.made_by:
            return False
        outputs = self._outputs(item)
        return line["input"] == _key(item.path) and line["outputs"] == outputs and None not in outputs.values()

    def refuse_replacing(self, items: Sequence[Item]) -> None:
        """Refuse outputs that hold what was made of another recording: two folders with files of one name.

        Raises
        ------
        UserError
            If such an output and its recording are still there, and the latter is none of the inputs.
        """
        inputs = {_key(item.path) for item in items}
        for item in items:
            for target in item.targets:
                line = self.lines.get(self._name(target))
                if line and line["input"] not in inputs and os.path.isfile(line["input"]) and target.is_file():
                    raise UserError(
                        f"{target}: an earlier call made it of {line['input']}. Give another output folder, or remove "
                        "this file."
                    )

    def add(self, item: Item, failed: str) -> None:
        """Append an input, with the reason if it failed."""
        key = _key(item.path)
        outputs = {} if failed else self._outputs(item)
        state = self.states.get(key, _state(item.path))
        line = {"input": key, "state": state, "outputs": outputs, "failed": failed, "made_by": self.made_by}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            if lacks_line_end(self.path):
                file.write("\n")  # else this line would be lost with the one that was cut off
            file.write(json.dumps(line) + "\n")
        self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        self.lines.update(dict.fromkeys(line["outputs"], line))

    def _outputs(self, item: Item) -> dict[str, list[int] | None]:
        return {self._name(target): _state(target) for target in item.targets}

    def _name(self, target: Path) -> str:
        """From the folder, which may be moved."""
        return target.relative_to(self.folder).as_posix()


def outputs_in(folder: Path) -> set[Path]:
    """The files that earlier calls wrote to an output folder, by its list.

    Example
    -------
    >>> outputs_in(Path("no_such_folder"))
    set()
    """
    place = folder.resolve()
    return {place / name for line in _read(folder / NAME) for name in line["outputs"]}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that can be read: one may have been cut off."""
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if not isinstance(line, dict) or not {"input", "state", "outputs", "made_by"} <= line.keys():
            continue
        if isinstance(line["outputs"], dict) and isinstance(line["input"], str):
            yield line


def _key(path: Path) -> str:
    return os.path.realpath(path)


def _state(path: Path) -> list[int] | None:
    """What changes with a file; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]
