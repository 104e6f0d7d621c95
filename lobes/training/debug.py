"""`--debug`: a few batches of everything, in a folder of its own, so that no run is touched."""

from __future__ import annotations

import tempfile

import torch.distributed as dist
from speechbrain.utils.distributed import if_main_process

PLACES = {"output_folder": "", "save_folder": "save", "train_log": "train_log.txt"}  # option -> below the folder


def in_temporary_folder(argv: list[str]) -> list[str]:
    """The same command line with a new folder for all that it writes, one for all ranks.

    Example
    -------
    >>> in_temporary_folder(["x.yaml", "--output_folder", "run", "--debug"])[:3]
    ['x.yaml', '--debug', '--output_folder']
    """
    made = [tempfile.mkdtemp(prefix="lobes_debug_") if if_main_process() else ""]
    if dist.is_available() and dist.is_initialized():
        dist.broadcast_object_list(made)
    return in_folder(argv, made[0])


def in_folder(argv: list[str], folder: str) -> list[str]:
    """The same command line with another folder for all that it writes.

    Example
    -------
    >>> in_folder(["x.yaml", "--output_folder=run"], "/new")[:3]
    ['x.yaml', '--output_folder', '/new']
    """
    places = [word for name, below in PLACES.items() for word in (f"--{name}", f"{folder}/{below}".rstrip("/"))]
    return [*_without(PLACES, argv), *places]


def _without(options: dict[str, str], argv: list[str]) -> list[str]:
    """A command line without some options and their values."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in options:
            kept.append(word)
        elif not equals:
            next(words, None)
    return kept
