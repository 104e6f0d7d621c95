"""Resolve a model argument to a local folder: of an export, of a run, or of a model on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lobes.errors import UserError
from lobes.runs import names

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
HUB_FILES = ["*.yaml", "*.ckpt", names.SUMS]


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
        If there is no such folder, or the hub gives no such model.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     locate(folder) == Path(folder)
    True
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    word = os.fspath(source)
    if folder.exists():
        raise UserError(f"{word}: is a file, expected the folder of a run or of an exported model.")
    if HUB_ID.fullmatch(word) and not folder.parent.exists():
        return _download(word, savedir, fetch_config)
    raise UserError(f"{word}: no such folder. Expected a run folder, an exported folder, or a hub id like owner/name.")


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is a training run's, which keeps checkpoints in `save/`; an exported one does not."""
    return (folder / names.HYPERPARAMS).is_file() and (folder / names.SAVE).is_dir()


def _download(hub_id: str, savedir: str | None, fetch_config: Any) -> Path:
    import huggingface_hub
    from speechbrain.utils.fetching import FetchConfig

    config = fetch_config or FetchConfig()
    try:
        folder = huggingface_hub.snapshot_download(
            hub_id,
            revision=config.revision,
            token=config.token,
            local_files_only=not config.allow_network,
            local_dir=savedir,
            allow_patterns=HUB_FILES,
        )
    except Exception as error:  # network, rights, no such model: a dozen kinds in two libraries
        reason = str(error).strip().split("\n")[0][:160] or type(error).__name__
        raise UserError(
            f"{hub_id}: no such folder, and the Hugging Face hub gave no model of that name ({reason})."
        ) from error
    return Path(folder)
