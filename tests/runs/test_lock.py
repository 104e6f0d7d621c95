"""The lock of a run folder."""

import os
import subprocess
import sys

import pytest

from lobes.errors import UserError
from lobes.runs.lock import hold, hold_both

# Holds a folder; a process that it has forked, such as a loader's worker, outlives it.
HOLDER = """
import os, sys, time
from lobes.runs.lock import hold
lock = hold(sys.argv[1])
if not os.fork():
    os.close(1)
    time.sleep(30)
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(30)
"""


def test_FX3_one_training_at_a_time_and_a_killed_one_is_no_obstacle(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, process_group=0)
    try:
        process.stdout.readline()
        with pytest.raises(UserError, match="another training runs in this folder"):
            hold(tmp_path)
        process.kill()
        process.wait()
        assert hold(tmp_path).is_locked
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def test_a_lock_that_is_let_go_in_a_moment_is_waited_for(tmp_path):
    code = "import sys, time; from lobes.runs.lock import hold; _ = hold(sys.argv[1]); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code + "; time.sleep(0.3)", tmp_path], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert hold(tmp_path).is_locked


def test_FX3_two_runs_cannot_share_a_folder_of_checkpoints(tmp_path):
    code = "import sys, time; from lobes.runs.lock import hold_both; _ = hold_both(*sys.argv[1:]); print(1, flush=True)"
    command = [sys.executable, "-c", code + "; time.sleep(30)", tmp_path / "one", tmp_path / "save"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(UserError, match="save: another training runs in this folder.*another --save_folder"):
            hold_both(tmp_path / "two", tmp_path / "save")
        process.kill()
    assert all(lock.is_locked for lock in hold_both(tmp_path / "two", tmp_path / "save"))
    hold_both(tmp_path / "three", tmp_path / "three" / "save")
    assert [path.name for path in (tmp_path / "three").iterdir()] == ["training.lock"]


def test_a_folder_without_a_training_stays_as_it_is(tmp_path):
    assert hold(tmp_path / "new", make=False) is None and not list(tmp_path.iterdir())


def test_the_lock_goes_with_the_object_and_is_no_obstacle_to_its_own_process(tmp_path):
    first, second = hold(tmp_path), hold(tmp_path)
    del first, second
    code = "import sys; from lobes.runs.lock import hold; hold(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def no_lock(*_, **__):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", no_lock)
    assert hold(tmp_path) is None and "no lock here (No locks available)" in caplog.text
