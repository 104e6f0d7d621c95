"""The examples of `lobes/sweep` are left out where the extra hpo, which they need, is not installed."""

from __future__ import annotations

import importlib.util

HAS_OPTUNA = importlib.util.find_spec("optuna") is not None
collect_ignore_glob = [] if HAS_OPTUNA else ["lobes/sweep/*.py"]


def pytest_report_header() -> str:
    """Say what is left out."""
    return "" if HAS_OPTUNA else "lobes/sweep: left out, the extra hpo is not installed"
