"""The audio of an input file, channel by channel and block by block. T samples, C channels."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import numpy as np

from lobes.data import audio
from lobes.data.containers.whole import printable
from lobes.errors import UserError

logger = logging.getLogger(__name__)


def channel_numbers(path: str | os.PathLike[str], channels: int, wanted: str) -> list[int | None]:
    """The channels to separate, one after another; None is the mean of all.

    Arguments
    ---------
    path : str or PathLike
        For messages.
    channels : int
        Of the file.
    wanted : str
        One of `lobes.inference.options.CHANNELS`.

    Raises
    ------
    UserError
        If the file has no such channel.

    Example
    -------
    >>> channel_numbers("a.wav", 2, "each"), channel_numbers("a.wav", 2, "mix")
    ([0, 1], [None])
    """
    if wanted == "each":
        return list(range(channels))
    if wanted == "mix":
        return [None]
    number = ("left", "right").index(wanted)
    if number >= channels:
        raise UserError(f"{printable(path)}: has one channel, so no right one. Take --channels left or mix.")
    return [number]


def channel_blocks(path: str | os.PathLike[str], number: int | None, dtype: str = "float32") -> Iterator[np.ndarray]:
    """Read one channel of a file, or the mean of all (None), in blocks [n].

    Raises
    ------
    UserError
        As `lobes.data.audio.read`.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/a.wav", np.array([[0.5, 0.25]] * 4), 8000)
    ...     [next(channel_blocks(f"{folder}/a.wav", number)).tolist() for number in (1, None)]
    [[0.25, 0.25, 0.25, 0.25], [0.375, 0.375, 0.375, 0.375]]
    """
    own = mixed = 0.0
    for block in audio.read_blocks(path, dtype):
        if block.ndim == 1:
            yield block
        elif number is not None:
            yield block[:, number]
        else:
            mean = block.mean(axis=1, dtype=dtype)
            own += float(np.square(block, dtype=np.float64).sum()) / block.shape[1]
            mixed += float(np.square(mean, dtype=np.float64).sum())
            yield mean
    if mixed < audio.CANCELLED * own:
        logger.warning("%s: its channels cancel each other in their mean; take --channels left", printable(path))
