"""Scores of inputs that several tests share: the same mixtures, scored once for all models of a comparison.

The folder is named by the environment, since it changes no number and so is no option of a run.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.files import write_whole
from lobes.metrics.utterance import INPUT, TARGET

ENVIRONMENT = "LOBES_INPUT_SCORES"


@contextmanager
def shared_in(folder: Path) -> Iterator[None]:
    """Let this process and those that it starts keep the scores of inputs in a folder.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, shared_in(Path(folder)):
    ...     keep("a", {"pesq": 2.0, "pesq_in": 1.5})
    ...     known("a"), known("b")
    ({'pesq_in': 1.5}, {})
    """
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(ENVIRONMENT)
        if before is not None:
            os.environ[ENVIRONMENT] = before


def key_of(mix: np.ndarray, targets: np.ndarray, sample_rate: int, words: str = "") -> str:
    """What the scores of an input depend on, as a file name: mixture [T], targets [T,S], rate in Hz, texts if any."""
    parts = [np.ascontiguousarray(x, np.float64).tobytes() for x in (mix, targets)]
    return sha256(b"".join([*parts, f"{targets.shape} {sample_rate}{words}".encode()])).hexdigest()[:32]


def known(key: str) -> dict[str, float]:
    """The numbers of an input, and of its targets, that were kept; none without a folder."""
    try:
        return json.loads((Path(os.environ[ENVIRONMENT]) / f"{key}.json").read_text(encoding="utf-8"))
    except (KeyError, OSError, ValueError):
        return {}


def keep(key: str, row: Mapping[str, Any]) -> None:
    """Keep the numbers of the input and of the targets that a row holds; nothing happens without a folder."""
    folder = os.environ.get(ENVIRONMENT)
    found = {name: value for name, value in row.items() if name.endswith((INPUT, TARGET)) and math.isfinite(value)}
    if not folder or found.keys() <= known(key).keys():
        return
    try:
        write_whole(Path(folder) / f"{key}.json", json.dumps(found))
    except OSError:
        pass  # another run keeps the same item at the same time, or the disk is full: it is scored again
