"""SIGTERM and SIGINT save and end a training with 143 and 130; the next start goes on as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import speechbrain as sb
import torch
from resuming import ITEMS, Mortal, curve, live, log, table
from resuming import __file__ as script

from lobes.training import signals

ROOT = Path(__file__).parents[2]
TRAIN, VALID, TEST = sb.Stage.TRAIN, sb.Stage.VALID, sb.Stage.TEST
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")


class Terminated(Mortal):
    number = signal.SIGTERM

    def on_death(self):
        signal.raise_signal(self.number)


class Interrupted(Terminated):
    number = signal.SIGINT


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    live(folder, grad_accumulation_factor=4)
    return folder


CASES = {
    "SIGTERM, training": (Terminated, (TRAIN, 5), 143, 8),
    "SIGINT, training": (Interrupted, (TRAIN, ITEMS + 2), 130, ITEMS + 4),
    "SIGTERM, the last batch of an epoch": (Terminated, (TRAIN, ITEMS), 143, ITEMS),
    "SIGTERM, validation": (Terminated, (VALID, 2), 143, ITEMS),
    "SIGINT, the last validation": (Interrupted, (VALID, 9), 130, 3 * ITEMS),
    "SIGINT, test": (Interrupted, (TEST, 2), 130, 3 * ITEMS),
}


@pytest.mark.parametrize("name", CASES)
def test_F17_a_signal_saves_and_ends_with_its_code(name, undisturbed, tmp_path, caplog):
    cls, when, code, batches = CASES[name]
    handlers = [signal.getsignal(number) for number in signals.SIGNALS]
    options = {"ckpt_interval_steps": 0, "ckpt_interval_minutes": 15, "grad_accumulation_factor": 4}
    caplog.set_level("INFO")
    with pytest.raises(SystemExit) as stop:
        live(tmp_path / "run", when, cls, **options)
    assert stop.value.code == code and [signal.getsignal(number) for number in signals.SIGNALS] == handlers
    [line] = [message for message in caplog.messages if message.startswith("stopped by")]
    assert f"stopped by {cls.number.name} at step {batches // 4}, exit code {code}" in line
    again = live(tmp_path / "run", **options)
    assert batches + again.done.get(TRAIN, 0) == 3 * ITEMS  # no batch was lost, but those of a window that had begun
    assert curve(tmp_path / "run") == curve(undisturbed) and log(tmp_path / "run") == log(undisturbed)
    assert table(tmp_path / "run") == table(undisturbed)


def test_F17_a_signal_to_all_processes_leaves_the_workers_to_the_main_one(tmp_path):
    """Schedulers signal every process of a job."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, str(tmp_path / "run"), "5"]
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, start_new_session=True, timeout=300)
    assert done.returncode == 143 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert time.monotonic() - begin < 300
    for name in ("whole", "run"):
        again = live(tmp_path / name)
    assert again.done[TRAIN] == 3 * ITEMS - 5
    assert curve(tmp_path / "run") == curve(tmp_path / "whole") and table(tmp_path / "run") == table(tmp_path / "whole")


def of_ranks(folder, ranks, batch=0, killed=()):
    """Train on so many ranks, of which one is killed once where `killed` says so; returns what was said."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    launch += ["--max-restarts=3"] if killed else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launch, script, str(folder), str(batch), *killed]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == (batch == 0 or bool(killed)), done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
def test_F17_F24_ranks_save_at_one_step_and_go_on_as_one(tmp_path):
    of_ranks(tmp_path / "whole", 2)
    assert "stopped by SIGTERM at step 4, exit code 143" in of_ranks(tmp_path / "run", 2, 4)
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    of_ranks(tmp_path / "run", 2)
    whole, run = (torch.load(tmp_path / name / "rank0.pt", weights_only=True) for name in ("whole", "run"))
    assert torch.equal(whole, run) and curve(tmp_path / "whole") == curve(tmp_path / "run")
    said = of_ranks(tmp_path / "other", 1)
    assert "2 ranks before, 1 now; epoch 1 starts again, since its batches hold other items" in said
    assert [row["step"] for row in curve(tmp_path / "other")] == [str(4 + ITEMS * epoch) for epoch in (1, 2, 3)]


@pytest.mark.slow
def test_F25_a_rank_that_is_killed_is_started_again_and_the_weights_are_equal(tmp_path):
    of_ranks(tmp_path / "whole", 2)
    of_ranks(tmp_path / "run", 2, 5, ["killed"])
    assert (tmp_path / "run" / "killed").exists()
    whole, run = (torch.load(tmp_path / name / "rank1.pt", weights_only=True) for name in ("whole", "run"))
    assert torch.equal(whole, run) and curve(tmp_path / "whole") == curve(tmp_path / "run")


@pytest.fixture
def ends(monkeypatch):
    """The codes with which the process would have ended at once."""
    codes = []
    monkeypatch.setattr(signals, "_end", codes.append)
    return codes


def test_F17_one_wish_may_come_twice_and_a_second_wish_ends_at_once(ends, monkeypatch):
    stop = signals.StopSignals()
    with stop.handled(at_once=False):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # the launcher of a process that a terminal has interrupted
        assert not ends and stop.agreed("cpu")
        monkeypatch.setattr(signals, "AGAIN", 0.0)
        signal.raise_signal(signal.SIGTERM)
    assert ends == [signal.SIGTERM]


def test_F17_the_process_ends_in_any_case(ends, monkeypatch):
    monkeypatch.setattr(signals, "LIMIT", 0.01)
    assert signals.LIMIT < 30
    with signals.StopSignals().handled(at_once=False):
        signal.raise_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while not ends and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ends == [signal.SIGTERM]


def test_a_signal_while_something_is_written_ends_after_it():
    stop, written = signals.StopSignals(), []
    with pytest.raises(signals.Stopped), stop.handled(), stop.deferred():
        signal.raise_signal(signal.SIGTERM)
        written.append("whole")
    assert written == ["whole"]
