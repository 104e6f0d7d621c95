"""Resolve a model argument to a local folder: of an export, of a run, or of a model on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lobes.errors import UserError, did_you_mean
from lobes.runs import hub, names

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def locate(source: str | os.PathLike[str], savedir: str | None = None, fetch_config: Any = None) -> Path:
    """Return the local folder of a model; a hub id is downloaded.

    Stock SpeechBrain takes every path that does not exist for a hub id. Here only `owner/name` is one, and
    only if there is no local folder `owner`; all else that does not exist is a mistyped path.

    Arguments
    ---------
    source : str or PathLike
        A folder or a hub id.
    savedir : str, optional
        Where a downloaded model is put; the hub's cache by default.
    fetch_config : speechbrain.utils.fetching.FetchConfig, optional
        `revision`, `allow_network` and `token` are honoured for a hub id.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If there is no such folder and the hub gives no such model, or cannot be asked; it says which. Also if a
        revision is asked of a folder.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     locate(folder) == Path(folder)
    True
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        refuse_revision(fetch_config, f"{source} is a folder on this machine")
        return folder
    word = os.fspath(source)
    if folder.exists():
        raise UserError(f"{word}: is a file, expected the folder of a run or of an exported model.")
    if HUB_ID.fullmatch(word) and not folder.parent.exists():
        try:
            return hub.download(word, savedir, fetch_config)
        except UserError as error:  # a mistyped path looks like a hub id
            reason = str(error).removeprefix(f"{word}: ")
            raise UserError(f"{word}: no such folder, and {reason}{_near(folder)}") from error
    raise UserError(
        f"{word}: no such folder. Expected a run folder, an exported folder, or a hub id like owner/name."
        f"{_near(folder)}"
    )


def refuse_revision(fetch_config: Any, what: str) -> None:
    """Stop if a revision was asked of something that has none.

    Raises
    ------
    UserError
        It says what the model is.

    Example
    -------
    >>> refuse_revision(None, "x is a folder")
    """
    revision = getattr(fetch_config, "revision", None)
    if revision is not None:
        raise UserError(f"revision {revision}: only models of the Hugging Face hub have one, and {what}.")


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is a training run's, which keeps checkpoints in `save/`; an exported one does not.

    One with `SHA256SUMS` is an exported one: somebody may have put checkpoints into it, which no sum covers.
    """
    trained = (folder / names.HYPERPARAMS).is_file() and (folder / names.SAVE).is_dir()
    return trained and not (folder / names.SUMS).exists()


def _near(folder: Path) -> str:
    """Name the existing folder that was perhaps meant: the last part mistyped, or one above it."""
    for part, rest in ((folder, ""), (folder.parent, folder.name)):
        if not part.parent.is_dir() or part == part.parent:
            continue
        known = [path.name for path in part.parent.iterdir() if (path / rest).is_dir()]
        if close := did_you_mean(part.name, known):
            return close if not rest else f"{close[:-2]}/{rest}'?"
    return ""
