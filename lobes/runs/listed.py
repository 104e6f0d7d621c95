"""Files that a folder's `SHA256SUMS` does not list are not used: they came later, from somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lobes.errors import UserError
from lobes.runs import names


def refuse_unlisted(folder: Path, files: Sequence[str]) -> None:
    """Stop at a file that is about to be used although the folder's `SHA256SUMS`, if there is one, does not list it.

    Raises
    ------
    UserError
        It names the file.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     refuse_unlisted(Path(folder), ["a.ckpt"])
    """
    sums = folder / names.SUMS
    if not sums.is_file():
        return
    listed = {line.partition("  ")[2] for line in sums.read_text(encoding="utf-8", errors="replace").splitlines()}
    for file in files:
        if file not in listed:
            raise UserError(
                f"{folder / file}: not listed in {names.SUMS}, so added later. Get or export the model again."
            )
