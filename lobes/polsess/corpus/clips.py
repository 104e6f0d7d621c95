"""Clips: recordings or synthesised sounds, grouped by split and by speaker or class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lobes.data import audio


@dataclass(frozen=True)
class Clip:
    """One sound that is read or made when it is needed: `load()` gives float32 [T] and the rate in Hz.

    `group` is the speaker of speech, the class of a scene or an event. `label` is its origin in the table,
    `made\\<group>\\<file>`, so the parent folder is the group. `path` is the user's file, for messages.
    """

    group: str
    label: str
    load: Callable[[], tuple[np.ndarray, int]] = field(compare=False, repr=False)
    path: Path | None = None


# split -> speaker or class -> its clips
Pools = Mapping[str, Mapping[str, list[Clip]]]


def label_of(group: str, file_name: str) -> str:
    r"""Write the origin of a clip as the tables hold paths: Windows style, parent folder = speaker or class.

    Example
    -------
    >>> print(label_of("pl_anna", "0001.wav"))
    made\pl_anna\0001.wav
    """
    return f"made\\{group}\\{file_name}"


def file_clip(group: str, path: Path) -> Clip:
    """Make the clip of an audio file; several channels are averaged."""
    return Clip(group, label_of(group, path.name), lambda: audio.read_mono_with_rate(path), path)
