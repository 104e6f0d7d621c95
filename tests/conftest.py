"""What all tests share: no network, no window, a fixed seed, and the skips for what a machine lacks."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes that share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if not (Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton's kernels run on the CPU; it must be set before its import

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's folder."""
    return ROOT


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real recordings; the test is skipped where there is none."""
    folder = ROOT.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("no real recordings on this machine")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium; the test is skipped where there is none."""
    if sys.platform == "win32":
        pytest.skip("the browser is driven over pipes with the numbers 3 and 4")
    spec = importlib.util.spec_from_file_location("devtools", Path(__file__).with_name("devtools.py"))
    devtools = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(devtools)
    if devtools.program() is None:
        pytest.skip("no Chromium on this machine")
    found = devtools.Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state; torch is seeded only where it is in use."""
    import random

    import numpy as np

    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def tame_lazy_modules() -> None:
    """Let hypothesis ask every loaded module for its file, at which SpeechBrain's lazy ones import what is missing."""
    lazy = sys.modules.get("speechbrain.utils.importutils")
    if lazy is not None:
        lazy.LazyModule.__file__ = None


def pytest_runtest_setup():
    """SpeechBrain may have come with the test before."""
    tame_lazy_modules()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Before hypothesis looks; and skip tests marked `gpu` on a machine without a CUDA device."""
    tame_lazy_modules()
    wanted = [item for item in items if item.get_closest_marker("gpu")]
    if not wanted:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wanted:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
