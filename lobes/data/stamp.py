"""A stamp beside manifests: with which options they were made, so that they are made once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Stamp:
    """A file that vouches for the manifests of a folder. It is written last, and goes before they change.

    Arguments
    ---------
    file : str or PathLike
        `<name>.json` in the manifests' folder.
    options : mapping
        What the manifests depend on, ready for JSON.
    splits : iterable of str
        The manifests, without `.csv`.

    Example
    -------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> stamp = Stamp(folder / "prepare.json", {"seed": 1}, ["train"])
    >>> stamp.remove(); _ = (folder / "train.csv").write_text("ID"); stamp.write()
    >>> stamp.holds(), Stamp(folder / "prepare.json", {"seed": 2}, ["train"]).holds()
    (True, False)
    """

    def __init__(self, file: str | os.PathLike[str], options: Mapping[str, Any], splits: Iterable[str]) -> None:
        self.file, self.text = Path(file), json.dumps(options, indent=1)
        self.manifests = [self.file.with_name(f"{split}.csv") for split in splits]

    def holds(self) -> bool:
        """Whether all manifests are there, made with these options."""
        return all(file.is_file() for file in (self.file, *self.manifests)) and self.file.read_text() == self.text

    def remove(self) -> None:
        """Vouch for nothing, before the manifests change."""
        self.file.unlink(missing_ok=True)

    def write(self) -> None:
        """Vouch for the manifests that are there now."""
        self.file.write_text(self.text)
