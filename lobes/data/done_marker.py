"""A done marker: the options that a folder's manifests were made with, so that they are made only once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lobes.data.files import write_whole


class DoneMarker:
    """A file `<name>.json` that says with which options the manifests of `splits` next to it were made.

    A preparation removes it before it changes the manifests and writes it when they are complete.

    Example
    -------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> marker = DoneMarker(folder / "prepare.json", {"seed": 1}, ["train"])
    >>> marker.remove(); _ = (folder / "train.csv").write_text("ID"); marker.write()
    >>> marker.is_valid(), DoneMarker(folder / "prepare.json", {"seed": 2}, ["train"]).is_valid()
    (True, False)
    """

    def __init__(self, file: str | os.PathLike[str], options: Mapping[str, Any], splits: Iterable[str]) -> None:
        self.file, self.text = Path(file), json.dumps(options, indent=1)
        self.manifests = [self.file.with_name(f"{split}.csv") for split in splits]

    def is_valid(self) -> bool:
        """Return whether the marker and all manifests exist and were made with these options."""
        there = all(file.is_file() for file in (self.file, *self.manifests))
        return there and self.file.read_text(encoding="utf-8") == self.text

    def remove(self) -> None:
        """Remove the marker, before the manifests change."""
        self.file.unlink(missing_ok=True)

    def write(self) -> None:
        """Write the marker, when all manifests are there."""
        write_whole(self.file, self.text)
