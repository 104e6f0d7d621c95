"""Measures of your own: `package.module:function`, wherever the name of a metric is expected."""

from __future__ import annotations

import importlib
from collections.abc import Callable

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
