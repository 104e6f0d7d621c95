"""benchmarks/scan.py keeps the number of threads that it was asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PROTOTYPE = FOLDER.parents[1] / "shared" / "prototypes" / "scan_numba.py"
SCRIPT = """
import torch
import scan
torch.set_num_threads(1)
inputs = scan.make_inputs((2, 16, 20, 8))
for kind in scan.KINDS:
    scan.work_of("prototype", kind, inputs, torch.ones_like(inputs[0]))()
print(torch.get_num_threads(), __import__("numba").get_num_threads())
"""


@pytest.mark.skipif(not PROTOTYPE.is_file(), reason="needs the prototype next to the checkout")
def test_the_prototype_runs_on_as_many_threads_as_the_others():
    """numba sets OpenMP's number of threads, which is PyTorch's, when it is called for the first time."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=FOLDER, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
