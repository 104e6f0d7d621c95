"""Classes under the names that they have in mamba_ssm: messages, and pickles of whole networks, hold these."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def named(module: str, name: str) -> Callable[[Class], Class]:
    """Give a class the module and name that it has in mamba_ssm.

    Example
    -------
    >>> @named("mamba_ssm.modules.mamba_simple", "Mamba")
    ... class Layer: ...
    >>> Layer
    <class 'mamba_ssm.modules.mamba_simple.Mamba'>
    """

    def rename(cls: Class) -> Class:
        cls.__module__, cls.__qualname__, cls.__name__ = module, name, name
        return cls

    return rename
