"""Python's import of `mamba_ssm` and `causal_conv1d`, answered from the table of names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from lobes.compat.mamba_ssm.names import PACKAGES, SERVED
from lobes.compat.mamba_ssm.refusal import refusal
from lobes.errors import UserError


class NotOffered(UserError, ModuleNotFoundError):
    """An import of what is not offered: `except ImportError` in their code sees it as a package that is missing."""


class Finder(MetaPathFinder, Loader):
    """Finds the modules of both packages, and fills them.

    Every module counts as a package: `from m import x` then asks for a module `m.x` if `m` has no `x`, and the answer
    is one line instead of Python's "cannot import name".
    """

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Return where a module comes from; None for modules of other packages.

        Raises
        ------
        NotOffered
            For a module of these packages that is not in the table.
        """
        if name.partition(".")[0] not in PACKAGES:
            return None
        if name not in SERVED:
            raise NotOffered(refusal(name))
        return ModuleSpec(name, self, origin="lobes.compat.mamba_ssm", is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the names of the table into a new module."""
        module.__doc__ = f"{module.__name__}, served by lobes.compat.mamba_ssm."
        for name, (file, there) in SERVED[module.__name__].items():
            setattr(module, name, getattr(importlib.import_module(file), there))

        def missing(name: str) -> Any:
            raise AttributeError(refusal(f"{module.__name__}.{name}"))

        module.__getattr__ = missing  # type: ignore[method-assign]
