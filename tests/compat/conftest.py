"""The stand-in for mamba_ssm in this process, for one test."""

from __future__ import annotations

import sys

import pytest

from lobes.compat.mamba_ssm import install
from lobes.compat.mamba_ssm.names import PACKAGES

collect_ignore = ["theirs"]  # scripts that import mamba_ssm


def forget() -> None:
    """Take the packages out of this process."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


@pytest.fixture
def clean(monkeypatch):
    """No trace of the packages before and after; the import system as it was."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "path", [*sys.path])
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
    forget()
    yield
    forget()
    sys.modules.update(kept)


@pytest.fixture
def stand_in(clean):
    """`mamba_ssm` and `causal_conv1d` are importable, and are those of Lobes."""
    install(shadow=True)
