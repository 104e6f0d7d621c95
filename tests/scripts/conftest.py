"""Load the programs of scripts/ by name, and forget them and what they load from the checkout after the test."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / name for name in ("scripts", "benchmarks", "recipes", "recipes/PolSESS")]


@pytest.fixture
def load(monkeypatch):
    """Name of a module -> the module."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(FOLDERS[0]), *sys.path])
    for name in ("realdata", "out_of_domain_corpus", "out_of_domain"):  # two recipes have one
        if name in sys.modules:
            monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = vars(sys.modules[name]).get("__file__")
        if file and Path(file).parent in FOLDERS:
            del sys.modules[name]
