"""For tests of what happens on a GPU, on machines without one: they import `fake_cuda`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("fake_cuda", Path(__file__).with_name("fake_cuda.py"))
fake_cuda = sys.modules["fake_cuda"] = importlib.util.module_from_spec(_SPEC)  # so that the tests can import it
_SPEC.loader.exec_module(fake_cuda)
