"""Freed memory stays in a training process."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from lobes.training.memory import peak_megabytes

PROGRAM = """
import resource, torch
from lobes.training.memory import keep_freed_memory
torch.set_num_threads(1)
keep = {keep}
assert not keep or keep_freed_memory()

def step():
    blocks = [torch.empty(n * 2**18).fill_(1.0) for n in (1, 5, 40)]  # 1, 5 and 40 MiB

for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
"""


def page_faults(keep: bool) -> int:
    """New pages that a step touches, on average."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_a_step_touches_no_new_pages():
    assert page_faults(keep=False) > 5000
    assert page_faults(keep=True) < 50


def test_peak_memory_without_the_module_resource(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    held = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3 * 2**20))
    monkeypatch.setattr(psutil, "Process", lambda: held)
    assert peak_megabytes() == 3


def test_memory_where_nobody_keeps_the_peak(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert 10 < peak_megabytes() < 2**20
