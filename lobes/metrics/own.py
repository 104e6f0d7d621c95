"""Measures of your own: `package.module:function`, wherever the name of a metric is expected."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lobes.errors import UserError

Measure = Callable[[np.ndarray, np.ndarray, int], float]  # estimate [T], target [T], rate in Hz


def is_own(name: str) -> bool:
    """Whether a metric's name is that of a function.

    Example
    -------
    >>> is_own("my_scores:loudness"), is_own("pesq")
    (True, False)
    """
    return ":" in name


def column_of(name: str) -> str:
    """The column of such a metric: the function's name."""
    return name.partition(":")[2]


def load(name: str) -> Measure:
    """Import the function, which is called with an estimate [T], a target [T] and the rate in Hz.

    Raises
    ------
    UserError
        If there is no such module or function.

    Example
    -------
    >>> load("lobes.metrics.measures:stoi").__name__
    'stoi'
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # the last two: a name such as `.x:f`, `:f`
        raise UserError(f"metric {name}: cannot be imported ({error}). Expected package.module:function.") from error


@lru_cache
def fingerprint(name: str) -> str:
    """Of the file that the function is written in, so that a changed one has another; empty where it is in none.

    Example
    -------
    >>> len(fingerprint("lobes.metrics.measures:stoi"))
    64
    """
    return code_of(load(name))


def code_of(function: Any) -> str:
    """The hash of the file that a function, or the class of whatever is called, is written in; empty without one."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    path = getattr(module, "__file__", None)
    return sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else ""
