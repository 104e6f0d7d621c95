"""What the measures with a network of their own share: their files, one session per process, the rate. T samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lobes.data.rates import resample
from lobes.errors import install
from lobes.metrics.measures import MetricError

LOWEST_RATE = 8000  # Hz; below, too little of speech is left to judge
MOST_REMEMBERED = 64  # results, not signals

Result = TypeVar("Result")


def not_installed(package: str, extra: str) -> MetricError:
    """The status of a measure whose package is missing.

    Example
    -------
    >>> str(not_installed("jiwer", "asr"))
    'jiwer is not installed, get it by pip install "path/to/clone[asr]"'
    """
    return MetricError(f"{package} is not installed, get it by {install(extra=extra)}")


def file_of(package: str, *parts: str) -> Path:
    """A file inside an installed package of the extra `judges`, without importing the package.

    Raises
    ------
    MetricError
        If there is no such package, or no such file in it.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise not_installed(package, "judges")
    path = Path(found.submodule_search_locations[0], *parts)
    if not path.is_file():
        raise MetricError(f"this version of {package} has no {parts[-1]}")
    return path


@lru_cache(maxsize=8)
def session(path: Path) -> Any:
    """Open a model of onnxruntime once in this process, with one thread.

    Raises
    ------
    MetricError
        If onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise not_installed("onnxruntime", "judges") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def at_rate(x: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """A signal [T] at the rate that a model wants, in float32.

    Raises
    ------
    MetricError
        If it is silent, or its own rate is below 8 kHz.

    Example
    -------
    >>> at_rate(np.sin(np.arange(800.0)), 8000, 16000).shape
    (1600,)
    """
    if own_rate < LOWEST_RATE:
        raise MetricError(f"not defined at {own_rate} Hz")
    if not np.any(x):
        raise MetricError("silent")
    return resample(np.asarray(x), own_rate, rate)


def remembering(function: Callable[[np.ndarray, int], Result]) -> Callable[[np.ndarray, int], Result]:
    """Remember what a function of a signal [T] and a rate gave: an input is asked about once for each of its sources.

    Example
    -------
    >>> calls = []
    >>> peak = remembering(lambda x, rate: calls.append(rate) or float(x.max()))
    >>> peak(np.ones(3), 8000), peak(np.ones(3), 8000), calls
    (1.0, 1.0, [8000])
    """
    known: dict[str, Result] = {}

    @wraps(function)
    def remembered(x: np.ndarray, rate: int) -> Result:
        x = np.ascontiguousarray(x, np.float32)
        key = sha256(x.tobytes() + f" {rate}".encode()).hexdigest()
        if key not in known:
            if len(known) >= MOST_REMEMBERED:
                known.pop(next(iter(known)))  # the oldest
            known[key] = function(x, rate)
        return known[key]

    return remembered
