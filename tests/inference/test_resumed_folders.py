"""The list of finished files: what is done again, what is skipped, what is refused, and what ends a call."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from lobes.errors import UserError
from lobes.inference import folder_job
from lobes.inference.folder_job import Task, run_files
from lobes.inference.options import Options

RATE = 8000
MODEL = "lobes_resumed_test:make"


class Parts:
    """Two parts of the mixture; counts its calls."""

    sample_rate, num_sources = RATE, 2
    calls = 0

    def __call__(self, mix):
        Parts.calls += 1
        return torch.stack([mix * 0.75, mix * 0.25])


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lobes_resumed_test", types.SimpleNamespace(make=Parts))
    monkeypatch.chdir(tmp_path)


def put(path: str, seed: int = 0, samples: int = 2000) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, samples), RATE)


def run(*paths: str, out: str = "out", options: Options | None = None, level: str | None = None, workers: int = 1):
    """Exit code and calls of the model."""
    before, task = Parts.calls, Task(MODEL, options or Options(), level=level, device="cpu")
    code = run_files(task, [Path(path) for path in paths], Path(out), recursive=True, workers=workers)
    return code, Parts.calls - before


def names(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.*") if path.is_file())


# ------------------------------------------------------------------------------------------------ which files
def test_outputs_may_lie_above_the_inputs():
    put("in/a.wav")
    put("in/x/b.wav")
    assert run("in", out=".") == (0, 2) and run("in", out=".") == (0, 0)
    assert Path("a_s1.wav").is_file() and Path("x/b_s2.wav").is_file()


def test_outputs_beside_the_inputs_are_no_inputs_of_the_next_call():
    put("in/a.wav")
    put("in/x/b.wav")
    assert run("in", out="in") == (0, 2) and run("in", out="in") == (0, 0)
    put("in/c.wav")
    assert run("in", out="in") == (0, 1) and len(names("in")) == 10
    for path in ("in/a.wav", "in/c.wav", "in/x/b.wav"):
        Path(path).unlink()
    with pytest.raises(UserError, match="the outputs of an earlier call"):
        run("in", out="in")


def test_links_to_folders_are_followed_and_loops_end():
    put("disk/speaker/a.wav")
    put("in/b.wav")
    for link, place in (("in/speaker", "disk/speaker"), ("in/again", "in"), ("disk/speaker/up", "in")):
        os.symlink(Path(place).absolute(), link)
    os.symlink("nothing.wav", "in/dead.wav")
    assert run("in") == (0, 2)
    assert names("out") == ["b_s1.wav", "b_s2.wav", "lobes_files.jsonl", "speaker/a_s1.wav", "speaker/a_s2.wav"]


def test_an_input_that_is_given_twice_is_done_once():
    put("in/a.wav")
    put("in/b.wav")
    assert run("in", "in/a.wav", "./in/a.wav") == (0, 2)
    assert "a_s1.wav" in names("out") and run("in", "in/a.wav") == (0, 0)


def test_format_same_and_a_file_whose_type_is_not_written(capsys):
    put("in/a.wav")
    Path("in/b.m4a").write_bytes(bytes(4) + b"ftypM4A " + bytes(100))
    sf.write("in/c.voc", np.zeros(100), RATE, format="VOC")
    assert run("in", options=Options(format="same")) == (1, 1)
    said = capsys.readouterr().err
    assert "1 files done, 2 failed:" in said and "b.m4a: is an MPEG-4 file" in said
    assert "c.voc: no files of its type can be written. Give --format wav." in said


# ------------------------------------------------------------------------------------------------ what is finished
def test_what_another_call_wrote_over_is_done_again():
    """Its length, and so its size, is the same."""
    put("in/a.wav")
    put("in/b.wav")
    run("in")
    good = Path("out/a_s1.wav").read_bytes()
    assert run("in/a.wav", options=Options(mixture_consistency=True), level="model") == (0, 1)
    Path("out/a_s1.wav").write_bytes(b"x" * len(good))
    assert run("in") == (0, 1) and Path("out/a_s1.wav").read_bytes() == good


def test_a_second_folder_does_not_replace_what_was_made_of_the_first():
    for number, day in enumerate(("day1", "day2")):
        put(f"{day}/a.wav", number)
        put(f"{day}/b.wav", number)
    run("day1")
    first = Path("out/a_s1.wav").read_bytes()
    with pytest.raises(UserError, match=r"out/a_s1\.wav: an earlier call made it of .*day1.a\.wav. Give another"):
        run("day2")
    assert Path("out/a_s1.wav").read_bytes() == first and run("day1") == (0, 0)
    shutil.rmtree("day1")
    assert run("day2") == (0, 2)


def test_a_folder_that_was_moved_goes_on():
    put("in/a.wav")
    put("in/b.wav")
    run("in")
    Path("out").rename("elsewhere")
    assert run("in", out="elsewhere") == (0, 0)


def test_an_input_that_changes_meanwhile_is_done_again(monkeypatch):
    """A recording that is still being copied while its first part is separated."""
    put("in/a.wav")
    put("in/b.wav")
    write = folder_job.write_separated

    def slowly(separator, path, targets, options):
        write(separator, path, targets, options)
        if path.name == "a.wav":
            put("in/a.wav", samples=4000)

    with monkeypatch.context() as patch:
        patch.setattr(folder_job, "write_separated", slowly)
        run("in")
    assert run("in") == (0, 1) and sf.info("out/a_s1.wav").frames == 4000


def test_an_input_that_goes_away_is_one_line(monkeypatch, capsys):
    for name in "abc":
        put(f"in/{name}.wav")
    write = folder_job.write_separated

    def late(separator, path, targets, options):
        Path("in/b.wav").unlink(missing_ok=True)
        write(separator, path, targets, options)

    monkeypatch.setattr(folder_job, "write_separated", late)
    assert run("in") == (1, 2)
    assert "2 files done, 1 failed:\n  in/b.wav: no such audio file" in capsys.readouterr().err


def test_a_line_that_was_cut_off_takes_none_along():
    put("in/a.wav")
    run("in", "in")
    place = Path("out/lobes_files.jsonl")
    place.write_bytes(place.read_bytes() + b'{"input": "cut o')
    put("in/b.wav")
    assert run("in") == (0, 1) and run("in") == (0, 0)


@pytest.mark.parametrize(
    "damage", [{"outputs": ["x"]}, {"input": ["x"]}, {"outputs": {"a_s1.wav": "big"}}, {"state": None}, {"made_by": 1}]
)
def test_a_line_that_was_changed_is_done_again(damage):
    put("in/a.wav")
    put("in/b.wav")
    run("in")
    place = Path("out/lobes_files.jsonl")
    lines = place.read_text().splitlines()
    changed = [json.dumps(json.loads(lines[0]) | damage), lines[1], "[1, 2]", "null", "\0\0"]
    place.write_text("\n".join(changed))
    assert run("in") == (0, 1) and run("in") == (0, 0)


# ------------------------------------------------------------------------------------------------ what ends a call
@pytest.mark.parametrize(
    ("options", "message"),
    [({"voice": "nowhere"}, "--voice nowhere: no hyperparams.yaml"), ({"strength": 0.5}, "--strength.*one source")],
)
def test_a_mistake_that_concerns_all_files_is_found_before_the_first(options, message):
    put("in/a.wav")
    put("in/b.wav")
    with pytest.raises(UserError, match=message):
        run("in", options=Options(**options))
    assert not Path("out").exists()


def test_a_format_that_does_not_fit_is_found_before_the_work():
    with pytest.raises(UserError, match="--subtype FLOAT: flac files hold one of"):
        Options(format="flac", subtype="FLOAT")
    sf.write("a.wav", np.zeros((2000, 3)), RATE)
    with pytest.raises(UserError, match="mp3 files of 8000 Hz and 3 channels cannot be written"):
        run("a.wav", options=Options(format="mp3", channels="each"))
    assert not Path("out").exists()


def test_too_little_memory_names_the_file_and_what_to_change(monkeypatch, capsys):
    put("in/a.wav")
    put("in/b.wav", samples=3000)

    def call(self, mix):
        if len(mix) == 3000:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return torch.stack([mix, mix])

    monkeypatch.setattr(Parts, "__call__", call)
    assert run("in")[0] == 1
    assert "in/b.wav: out of memory. Give shorter chunks, such as --chunk_s 10" in capsys.readouterr().err


def test_a_full_disk_ends_several_processes(tmp_path, monkeypatch):
    """The files that wait are not tried one after another."""
    Path("lobes_full_test.py").write_text(
        "import os\nclass Model:\n    sample_rate, num_sources = 8000, 2\n    def __call__(self, mix):\n"
        f"        open('calls', 'a').write('x')\n        raise OSError({errno.ENOSPC}, 'No space', 'out')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    for number in range(20):
        put(f"in/{number}.wav")
    with pytest.raises(OSError, match="No space"):
        run_files(Task("lobes_full_test:Model", Options(), device="cpu"), [Path("in")], Path("out"), workers=2)
    assert len(Path("calls").read_text()) < 10


def test_options_that_do_not_travel_to_other_processes():
    put("in/a.wav")
    put("in/b.wav")
    with pytest.raises(UserError, match="workers: the options cannot be handed to other processes"):
        run("in", options=Options(voice=lambda x, rate: np.zeros(2)), workers=2)


def test_a_voice_that_cannot_be_copied_is_no_hindrance():
    import threading

    class Recogniser:
        lock = None

        def __init__(self):
            self.lock = threading.Lock()

        def __call__(self, x, rate):
            return np.zeros(2)

    put("in/a.wav")
    put("in/b.wav")
    assert run("in", options=Options(voice=Recogniser(), chunk_s=np.float32(20))) == (0, 2)


def test_a_file_that_ends_its_process_is_one_line(tmp_path, monkeypatch, capsys):
    """For want of memory, or in a crash of a decoder: the others are done."""
    Path("lobes_crash_test.py").write_text(
        "import os, time, torch\nclass Model:\n    sample_rate, num_sources = 8000, 2\n    def __call__(self, mix):\n"
        "        if len(mix) == 3000: os._exit(1)\n        time.sleep(0.5)\n        return torch.stack([mix, mix])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    for number in range(5):
        put(f"in/{number}.wav", samples=3000 if number == 1 else 2000)
    task = Task("lobes_crash_test:Model", Options(), device="cpu")
    assert run_files(task, [Path("in")], Path("out"), workers=2) == 1
    said = capsys.readouterr().err
    assert "4 files done, 1 failed:" in said and "in/1.wav: its process ended: a crash, or too little memory" in said


@pytest.mark.skipif(os.name == "nt", reason="sends a signal to a group of processes")
def test_ctrl_c_ends_several_processes_and_the_files_that_wait(tmp_path):
    Path("lobes_slow_test.py").write_text(
        "import time, torch\nclass Model:\n    sample_rate, num_sources = 8000, 2\n    def __call__(self, mix):\n"
        "        time.sleep(1)\n        return torch.stack([mix, mix])\n"
    )
    for number in range(60):
        put(f"in/{number}.wav")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    words = ["separate", "lobes_slow_test:Model", "in", "-o", "out", "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lobes.cli", *words], env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, start_new_session=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's jobs in the background ignore it
    )  # fmt: skip
    try:
        assert process.stdout.readline().startswith("out/")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) == 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
