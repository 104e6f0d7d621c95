"""What is particular to the numba backend: threads, forks, the cache on disk, the first compilation."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lobes.scan import numba_backend, selective_scan


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(1, 40, 600, 2), (1, 40, 48, 4), (3, 40, 80, 4), (2, 40, 5, 4)], ids=str)
def test_threads_do_not_change_the_result(make, run, monkeypatch, two_threads, shape):
    monkeypatch.setattr(numba_backend, "SMALL", 0)
    inputs = make(*shape)
    used = []
    original = numba_backend._share
    monkeypatch.setattr(numba_backend, "_share", lambda *args: used.append(original(*args)) or used[-1])
    got = run(inputs, backend="numba", reverse=True)
    truth = run(inputs, torch.float64, backend="reference", reverse=True)
    assert used[0][2] == (1 if shape == (1, 40, 5, 4) else 2)
    for name, expected in truth.items():
        assert (got[name] - expected).abs().max() <= 3e-6 * expected.abs().max(), name


def test_one_thread_when_torch_has_one_or_the_work_is_small(two_threads):
    large, small = torch.Size([64, 100, 256]), torch.Size([1, 10, 16])
    assert numba_backend._share(large, 16)[2] == 2
    assert numba_backend._share(small, 16)[2] == 1
    torch.set_num_threads(1)
    assert numba_backend._share(large, 16)[2] == 1


def test_calls_from_several_threads_at_once(make, two_threads):
    inputs = make(4, 200, 64, 16)
    expected = selective_scan(**inputs, delta_softplus=True, backend="numba")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: selective_scan(**inputs, delta_softplus=True, backend="numba"), range(12)))
    assert all(torch.equal(result, expected) for result in results)


def _scan_in_child(inputs, queue):
    queue.put(selective_scan(**inputs, delta_softplus=True, backend="numba").tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_may_scan_after_its_parent_did(make, monkeypatch, two_threads):
    monkeypatch.setattr(numba_backend, "SMALL", 0)  # two threads, while torch's own operations stay in one
    inputs = make(4, 10, 16, 4)
    expected = selective_scan(**inputs, delta_softplus=True, backend="numba").tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_scan_in_child, args=(inputs, queue), daemon=True)
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0


PROGRAM = """
import logging, time, torch
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from lobes.scan import selective_scan
ones = torch.ones(1, 4, 8)
start = time.perf_counter()
y = selective_scan(ones, ones, -torch.ones(8, 2), ones[..., :2], ones[..., :2], backend="numba")
print("OUTPUT", y.shape, "SECONDS", time.perf_counter() - start)
"""


def _fresh_process(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_first_use_says_that_it_compiles_and_the_second_loads(tmp_path):
    first = _fresh_process(NUMBA_CACHE_DIR=str(tmp_path))
    assert "Compiling the CPU scan (forward)" in first and str(tmp_path) in first
    second = _fresh_process(NUMBA_CACHE_DIR=str(tmp_path))
    assert "Compiling" not in second and "OUTPUT torch.Size([1, 4, 8])" in second
    assert float(second.split("SECONDS")[1].split()[0]) < 3


def test_no_place_for_a_cache_is_a_warning(monkeypatch, caplog):
    from numba.core.dispatcher import Dispatcher

    def refuse(self):
        raise RuntimeError("cannot cache function: no locator available")

    numba_backend._kernels.cache_clear()
    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)
    monkeypatch.setattr("numba.core.event.register", lambda *args: None)
    with caplog.at_level(logging.WARNING, logger="lobes.scan"):
        numba_backend._kernels()
    assert "Set NUMBA_CACHE_DIR to a writable folder" in caplog.text


def test_importing_the_scan_does_not_import_numba():
    program = "import sys, lobes.scan; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
