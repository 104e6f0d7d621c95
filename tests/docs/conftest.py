"""The fake training runs of ../run_folders.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("run_folders", Path(__file__).parents[1] / "run_folders.py")
_FAKE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FAKE)

stand_in, make_run, run = _FAKE.stand_in, _FAKE.make_run, _FAKE.run
