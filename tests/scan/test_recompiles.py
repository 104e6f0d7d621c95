"""How many versions of each Triton kernel lengths of all kinds need: by the keys under which Triton keeps them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import compute_cache_key, create_function_from_signature
from lobes.scan.cuda import launch, passes
from lobes.scan.inputs import ScanInputs

backend = make_backend(GPUTarget("cuda", 90, 32))
keys = {}

class Keyed:
    def __init__(self, name, kernel):
        self.keys = keys.setdefault(name, set())
        self.bind = create_function_from_signature(kernel.signature, kernel.params, backend)

    def __getitem__(self, grid):
        return self

    def __call__(self, *arguments, **options):
        _, specialization, others = self.bind(*arguments, **options)
        self.keys.add(compute_cache_key({}, specialization, others))

launch.kernels().update({name: Keyed(name, kernel) for name, kernel in launch.kernels().items()})

def scan(batch, steps, padded):
    rows, A, vector = torch.empty(batch, steps, 64), torch.empty(64, 16), torch.empty(64)
    B, C = torch.empty(batch, steps, 36)[..., 4:].chunk(2, dim=2)  # as x_proj leaves them
    lengths = torch.full((batch,), steps) if padded else None
    x = ScanInputs(rows, rows, A, B, C, vector, rows, vector, None, lengths, True, False)
    _, _, saved = passes.forward(x, save=True, want_last=False)
    passes.backward(x, saved, torch.empty_like(rows), None)

sizes = [1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 129, 250, 251, 500, 1000, 1001, 4001]
for padded in (False, True):
    for steps in sizes:
        for batch in (1, 2, 3, 16, 33):
            scan(batch, steps, padded)
    scan(1500, 40, padded)  # so many items that none is cut
    scan(1500, 41, padded)
    print(json.dumps({name: len(found) for name, found in keys.items()}))
"""
# A pass is compiled for whole sequences, and once more for segments, into which a state enters; `summarize` and `join`,
# which know only segments, for both directions. Padding adds a tensor, and doubles the first three.
MOST = [
    {"forward": 2, "backward": 2, "summarize": 2, "join": 2, "add_up": 1},
    {"forward": 4, "backward": 4, "summarize": 4, "join": 2, "add_up": 1},
]


def test_lengths_of_all_kinds_share_the_compiled_kernels():
    pytest.importorskip("triton")  # there is none for macOS and Windows
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == MOST
