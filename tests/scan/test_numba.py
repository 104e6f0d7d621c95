"""What is particular to the numba backend: threads, forks, the cache on disk, the first compilation."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from lobes.errors import UserError
from lobes.kernels import threads
from lobes.scan import backends, selective_scan
from lobes.scan.cpu import numba_backend
from lobes.scan.cpu.numba_backend import NumbaBackend
from lobes.scan.registry import BACKENDS, log_choice


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fresh_backend(monkeypatch):
    """In the registry, a backend that has not been used yet."""
    monkeypatch.delenv("LOBES_SCAN_BACKEND", raising=False)
    monkeypatch.setitem(BACKENDS, "numba", NumbaBackend())
    log_choice.cache_clear()


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 33, 5, 4), (3, 77, 32, 16), (2, 50, 70, 7), (2, 20, 600, 3)], ids=str
)
@pytest.mark.parametrize("reverse", [False, True])
def test_agrees_with_the_reference(make, run, assert_agrees, shape, reverse):
    inputs = make(*shape)
    lengths = torch.tensor([shape[1], *[shape[1] // 3] * (shape[0] - 1)])
    options = {"reverse": reverse, "lengths": lengths}
    got = run(inputs, backend="numba", **options)
    assert_agrees(got, run(inputs, torch.float64, backend="reference", **options))


def test_rows_are_read_where_they_lie(make, run, assert_agrees):
    inputs = make(3, 20, 40, 6)
    wide = torch.randn(3, 20, 100)
    truth = run(inputs, torch.float64, backend="reference")
    for name, start in (("B", 0), ("C", 10), ("u", 20), ("z", 60)):
        width = inputs[name].shape[-1]
        wide[..., start : start + width] = inputs[name]
        inputs[name] = wide[..., start : start + width]
    assert not inputs["u"].is_contiguous()
    assert_agrees(run(inputs, backend="numba"), truth)


def test_a_nan_reaches_the_output_of_its_channel_alone(make):
    inputs = make(1, 20, 40, 4, absent=("initial_state",))
    inputs["delta"][0, 7, 33] = float("nan")
    y = selective_scan(**inputs, delta_softplus=True, backend="numba")
    assert y[0, 7:, 33].isnan().all() and not y[0, :7].isnan().any()
    assert not y[0, :, :33].isnan().any() and not y[0, :, 34:].isnan().any()


@pytest.mark.parametrize("shape", [(1, 40, 600, 2), (1, 40, 48, 4), (3, 40, 80, 4), (2, 40, 5, 4)], ids=str)
def test_threads_do_not_change_the_result(make, run, assert_agrees, monkeypatch, two_threads, shape):
    engine = BACKENDS["numba"].engine
    monkeypatch.setattr(threads, "SMALL", 0)
    inputs = make(*shape)
    used, original = [], engine.run
    monkeypatch.setattr(engine, "run", lambda workers, *rest: used.append(workers) or original(workers, *rest))
    got = run(inputs, backend="numba", reverse=True)
    assert used == ([1, 1] if shape == (1, 40, 5, 4) else [2, 2])
    assert_agrees(got, run(inputs, torch.float64, backend="reference", reverse=True))


def test_one_thread_when_torch_has_one_or_the_work_is_small(two_threads):
    assert threads.workers_for(64 * 100 * 256 * 16) == 2
    assert threads.workers_for(10 * 16 * 16) == 1
    torch.set_num_threads(1)
    assert threads.workers_for(64 * 100 * 256 * 16) == 1


@pytest.mark.parametrize("jobs", [0, 1, 2, 3, 7, 128, 1000])
@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_shares_hold_every_job_once_and_get_smaller(jobs, workers):
    shares = threads.split(jobs, workers)
    assert [job for start, stop in shares for job in range(start, stop)] == list(range(jobs))
    assert all(stop > start for start, stop in shares) or shares == [(0, 0)]
    assert workers > 1 or len(shares) == 1
    if jobs >= 16 * workers > 16:
        sizes = [stop - start for start, stop in shares]
        assert sizes[-1] <= sizes[0] // 4 and max(sizes) <= -(-jobs // (2 * workers)) + 1


def test_a_worker_that_is_held_up_leaves_its_shares_to_the_others():
    shares, taken = threads.split(64, 2), {0: [], 1: []}
    started, released = threading.Event(), threading.Event()

    def kernel(start, stop, worker, share):
        taken[worker].append(share)
        if worker == 1:
            started.set()
            assert released.wait(60)
        assert started.wait(60)
        if len(taken[0]) == len(shares) - 1:
            released.set()

    threads.run(2, shares, kernel)
    assert len(taken[1]) == 1 and sorted(taken[0] + taken[1]) == list(range(len(shares)))


def test_a_kernel_that_fails_in_another_thread_is_heard_of():
    started = threading.Event()

    def kernel(start, stop, worker, share):
        if worker == 1:
            started.set()
            raise ValueError("worker 1")
        assert started.wait(60)

    with pytest.raises(ValueError, match="worker 1"):
        threads.run(2, threads.split(64, 2), kernel)


def test_an_interruption_waits_for_the_other_threads_and_ends_their_work():
    started, taken, finished = threading.Event(), [], []

    def kernel(start, stop, worker, share):
        taken.append(share)
        if worker == 0:
            assert started.wait(60)
            raise KeyboardInterrupt
        started.set()
        time.sleep(0.5)
        finished.append(share)

    with pytest.raises(KeyboardInterrupt):
        threads.run(2, threads.split(64, 2), kernel)
    assert len(taken) == 2 and len(finished) == 1


def test_kernels_that_are_wrong_are_not_used(make, run, monkeypatch, fresh_backend, caplog):
    vector = importlib.import_module(numba_backend.ENGINE)
    original = vector.forward
    monkeypatch.setattr(vector, "forward", lambda *args: [2 * part for part in original(*args)])
    inputs = make(1, 4, 3, 2)
    with caplog.at_level(logging.WARNING, logger="lobes.scan"):
        got, expected = run(inputs), run(inputs, backend="torch")
    reason = "numba cannot be used (ValueError: a small call of lobes.scan.cpu.vector_engine is off by 1.0e+00)"
    assert backends()["numba"] == reason
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert caplog.messages == [f"selective scan on cpu: backend torch (auto; not numba: {reason})"]
    with pytest.raises(UserError, match="backend='numba' cannot run: numba cannot be used"):
        run(inputs, backend="numba")


def test_the_reason_is_one_short_line(monkeypatch, fresh_backend):
    def fail(*args):
        raise TypeError("Failed in nopython mode\n\n" + "  No implementation of function\n" * 100)

    monkeypatch.setattr(numba_backend, "keep_compiled", fail)
    reason = backends()["numba"]
    assert reason.startswith(
        "numba cannot be used (TypeError: Failed in nopython mode No implementation of function No"
    )
    assert "\n" not in reason and len(reason) < 330


def test_the_check_of_the_kernels_leaves_no_trace_in_a_checkpoint(make, fresh_backend):
    inputs = {name: tensor.requires_grad_() for name, tensor in make(1, 4, 3, 2).items()}
    y = checkpoint(lambda: selective_scan(**inputs, backend="numba"), use_reentrant=False)
    y.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in inputs.values())


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
    monkeypatch.setattr(threads, "SMALL", 0)  # two threads, while torch's own operations stay in one
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
    assert "Compiling lobes.scan.cpu.vector_forward.forward" in first and str(tmp_path) in first
    second = _fresh_process(NUMBA_CACHE_DIR=str(tmp_path))
    assert "Compiling" not in second and "OUTPUT torch.Size([1, 4, 8])" in second
    assert float(second.split("SECONDS")[1].split()[0]) < 3


def test_no_place_for_a_cache_is_a_warning(monkeypatch, caplog):
    from numba.core.dispatcher import Dispatcher

    def refuse(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)
    monkeypatch.setattr("numba.core.event.register", lambda *args: None)
    with caplog.at_level(logging.WARNING, logger="lobes"):
        assert NumbaBackend().unavailable() is None
    assert "Set NUMBA_CACHE_DIR to a writable folder" in caplog.text


def test_importing_the_scan_does_not_import_numba():
    program = "import sys, lobes.scan; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
