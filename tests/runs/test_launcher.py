"""Training runs are started once, resumed, never mixed up, and their failures are reported."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lobes.errors import UserError
from lobes.runs.launcher import Run, run_all, start
from lobes.runs.record import collect, number, progress

ROOT = Path(__file__).parents[2]
FAKE = """
import json, os, sys
from pathlib import Path
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
out = Path(options["--output_folder"])
count = out / "count.txt"
count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))
print("threads", os.environ.get("OMP_NUM_THREADS"))
if options["--seed"] == "13":
    sys.exit(3)
if options["--seed"] == "143":
    sys.exit(143)
header = "step,seconds,epoch,train_loss,valid_si_sdri,lr"
(out / "learning_curve.csv").write_text(header + "\\n5,1.5,1,-2,3.25,0.1\\n")
(out / "per_utterance.csv").write_text("id,variant,si_sdr,si_sdri,sdr,sdri,pesq,stoi,status\\na,SER,5,3.25,,,,,ok\\n")
(out / "train_time.json").write_text('{"steps": 5, "seconds": 1.5}')
if options["--seed"] != "14":
    (out / "summary.json").write_text('{"mean": {"si_sdri": 3.25}}')
"""


@pytest.fixture
def make(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(FAKE)

    def run(name, seed, **options):
        return Run(name, script, "hparams/x.yaml", tmp_path / name, {"seed": seed, **options}, threads=1)

    return run


def test_runs_are_started_once_and_collected(make, capsys):
    runs = [make("a", 1), make("b", 2)]
    run_all(runs, jobs=2)
    run_all(runs, jobs=1)
    for run in runs:
        assert (run.folder / "count.txt").read_text() == "1"
        assert (run.folder / "console.txt").read_text().strip() == "threads 1"
        outcome = collect(run.folder)
        assert outcome.summary["mean"]["si_sdri"] == 3.25 and outcome.train_time["steps"] == 5
        assert outcome.curve[0]["step"] == "5" and outcome.utterances[0]["variant"] == "SER"
        assert outcome.utterances[0]["si_sdri"] == 3.25
    assert "done before: a" in capsys.readouterr().out
    assert progress(runs[0].folder) == "step 5, 2 s, valid SI-SDRi 3.25 dB"
    curve = runs[0].folder / "learning_curve.csv"
    curve.write_text(curve.read_text().replace("3.25", "nan"))
    assert progress(runs[0].folder) == "step 5, 2 s, valid no SI-SDRi"


def test_the_time_left_is_said_when_a_run_ends_and_others_wait(make, capsys):
    run_all([make("a", 1), make("b", 2)], jobs=1)
    said = [line for line in capsys.readouterr().out.splitlines() if "about" in line]
    assert said == ["1 not started yet: about 0 min"]


def test_a_stopped_run_is_started_again(make):
    run = make("a", 1)
    run_all([run])
    (run.folder / "summary.json").unlink()
    run_all([run])
    assert (run.folder / "count.txt").read_text() == "2"


@pytest.mark.parametrize(("seed", "reason"), [(13, "exit code 3"), (14, "exit code 0, but without .*summary.json")])
def test_a_failed_run_is_named_with_its_messages(make, seed, reason):
    with pytest.raises(UserError, match=f"the run a failed .{reason}.*console.txt"):
        run_all([make("a", seed)])


def test_F17_a_run_that_a_signal_stopped_is_said_to_go_on(make):
    with pytest.raises(UserError, match="the run a was stopped by a signal .exit code 143.; the same command goes on"):
        run_all([make("a", 143)])


WAITS = """
import signal, sys, time
from pathlib import Path
out = Path(dict(zip(sys.argv[2::2], sys.argv[3::2]))["--output_folder"])
signal.signal(signal.SIGTERM, lambda *_: (out / "saved").write_text("") and None or sys.exit(143))
(out / "ready").write_text("")
time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_F17_sigterm_to_the_launcher_reaches_its_runs(make):
    run = make("a", 1)
    run.script.write_text(WAITS)
    code = textwrap.dedent(f"""
        from pathlib import Path
        from lobes.runs.launcher import Run, run_all
        run_all([Run("a", Path({str(run.script)!r}), "hparams/x.yaml", Path({str(run.folder)!r}), {{"seed": 1}})])
    """)
    launcher = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + 120
        while not (run.folder / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(60) == 143 and (run.folder / "saved").exists()
    finally:
        launcher.kill()


def test_a_folder_is_not_continued_with_other_options(make):
    run_all([make("a", 1, max_steps=5)])
    with pytest.raises(UserError, match="max_steps: there 5, now 7"):
        run_all([make("a", 1, max_steps=7)])


def test_two_processes_never_train_one_run(make, tmp_path):
    script = make("a", 1).script
    script.write_text("import time; time.sleep(30)")
    process = start(make("a", 1), console=False)
    try:
        with pytest.raises(UserError, match="still trains"):
            start(make("a", 1), console=False)
    finally:
        process.kill()
        process.wait()
    script.write_text(FAKE)
    run_all([make("a", 1)])


def test_collecting_an_unfinished_run_says_what_is_missing(make):
    with pytest.raises(UserError, match="summary.json"):
        collect(make("never", 1).folder)


def test_command_is_what_a_user_would_type(make):
    assert make("a", 1).command()[:3] == [sys.executable, "train.py", "hparams/x.yaml"]


def test_number_reads_empty_cells_as_nan():
    assert number("2.5") == 2.5
    assert all(value != value for value in (number(""), number(None), number("x")))
