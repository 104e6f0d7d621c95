"""Two nodes of one machine, one killed and back; by namespaces where they are allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts" / "rehearse_nodes.py"


def namespaces_are_allowed():
    """Whether a network namespace can be made here: by root, with `ip`."""
    if shutil.which("ip") is None or os.name == "nt":
        return False
    made = subprocess.run(["ip", "netns", "add", "lobes-try"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", "lobes-try"], capture_output=True)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("network", ["namespaces", "loopback"])
def test_a_node_that_was_killed_comes_back_and_changes_nothing(network, tmp_path):
    if network == "namespaces" and not namespaces_are_allowed():
        pytest.skip("network namespaces need root and the program ip")
    words = [sys.executable, str(PROGRAM), "--network", network, "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 nodes, one killed after step" in done.stdout and "36 steps in both runs" in done.stdout
