"""A user's mistake is one line on stderr and exit code 2, also out of a loader's worker; a bug keeps its traceback."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset

from lobes.data import audio
from lobes.data.files import write_whole
from lobes.errors import UserError, exit_on_user_error


def ended(capsys, function, code=2):
    """The one line that a command's main ends with."""
    with pytest.raises(SystemExit) as stop, exit_on_user_error():
        function()
    text = capsys.readouterr().err
    assert stop.value.code == code and text.count("\n") == 1, text
    return text


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise PermissionError(13, "Permission denied", "a b/mix.wav")


@pytest.mark.parametrize("workers", [0, 1])
def test_one_line_from_any_process(workers, capsys):
    line = ended(capsys, lambda: next(iter(DataLoader(Broken(), num_workers=workers))))
    assert line == "error: a b/mix.wav: Permission denied.\n"


@pytest.mark.parametrize(
    "error, line",
    [
        (UserError("mix.wav is cut short"), "error: mix.wav is cut short\n"),
        (OSError(24, "Too many open files", "mix.wav"), "error: mix.wav: Too many open files. Raise the limit"),
        (OSError(28, "No space left on device"), "error: a file: No space left on device. Free some space"),
    ],
)
def test_what_torch_makes_of_an_error_in_a_worker(error, line, capsys):
    def function():
        try:
            raise error
        except Exception:
            wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
        wrapped.reraise()

    assert ended(capsys, function).startswith(line)


REFUSALS = [
    (lambda folder: (folder / "file" / "x").write_text(""), "file/x: Not a directory."),
    (lambda folder: folder.joinpath("new").mkdir() or (folder / "new").read_text(), "new: Is a directory."),
    (lambda folder: (folder / "none").read_text(), "none: No such file or directory."),
    (lambda folder: (folder / ("n" * 300)).write_text(""), "nnn: File name too long."),
    (lambda folder: write_whole(folder / "file" / "x", "a"), "file: File exists. A folder is expected there."),
    (lambda folder: audio.write(folder / "file" / "x.wav", np.zeros(9), 8000), "file: File exists."),
    (lambda folder: Path("/dev/full").write_text("a"), "/dev/full: No space left on device. Free some space"),
    (lambda folder: torch.save(torch.zeros(9), folder), "Is a directory"),
]


@pytest.mark.skipif(os.name == "nt", reason="errors of POSIX systems")
@pytest.mark.parametrize("write, line", REFUSALS, ids=[line for _, line in REFUSALS])
def test_what_the_system_refuses_is_one_line_with_the_path(write, line, tmp_path, capsys):
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "file").write_text("")
    try:
        assert line in ended(capsys, lambda: write(tmp_path))
    except RuntimeError as error:  # what torch says of a folder has no number
        assert "Is a directory" in line and "directory" in str(error)


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.EDQUOT,
                                    errno.EMFILE, errno.EIO, errno.EFBIG])  # fmt: skip
def test_every_refusal_of_the_system(number, capsys):
    line = ended(capsys, raising(OSError(number, os.strerror(number), "run/save")))
    assert line.startswith(f"error: run/save: {os.strerror(number)}.")


def test_a_missing_package_is_named_with_the_way_to_install_it(capsys):
    """As SpeechBrain's inference raises it where huggingface_hub is missing."""
    line = ended(capsys, raising(ModuleNotFoundError("No module named 'huggingface_hub.x'", name="huggingface_hub.x")))
    assert line.startswith("error: the package huggingface_hub is missing. To install all that")
    assert "pip install path/to/clone" in line
    with pytest.raises(ModuleNotFoundError):
        ended(capsys, raising(ModuleNotFoundError("a bug", name="lobes.no_such_module")))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name == "nt" or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


WRITERS = {
    "torch.save": lambda path: torch.save(torch.zeros(99_999), path),
    "torch.save of much": lambda path: torch.save({"a": torch.zeros(9), "b": torch.zeros(999_999)}, path),
    "write_whole": lambda path: write_whole(path, b"x" * 99_999),
    "audio": lambda path: audio.write(path.with_suffix(".wav"), np.zeros(99_999), 8000),
    "a text": lambda path: path.write_text("x" * 99_999),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_names_the_file(writer, small_disk, capsys):
    line = ended(capsys, lambda: WRITERS[writer](small_disk / "mix"))
    assert line.startswith(f"error: {small_disk / 'mix'}") and "Free some space or write to another disk." in line


@pytest.mark.parametrize("text", [
    "[enforce fail at inline_container.cc:664] . unexpected pos 39872 vs 39776",
    "PytorchStreamWriter failed writing file data/0: file write failed",
])  # fmt: skip
def test_torch_on_a_full_disk(text, capsys):
    assert ended(capsys, raising(RuntimeError(text))) == (
        "error: a file could not be written whole. Free some space or write to another disk.\n"
    )


@pytest.mark.parametrize("error", [
    MemoryError("Unable to allocate 30 GiB for an array"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: 9 bytes\nmore"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
])  # fmt: skip
def test_too_little_memory(error, capsys):
    line = ended(capsys, raising(error))
    assert line.startswith("error: out of memory: ") and line.endswith("Use smaller batches or examples.\n")


def test_ctrl_c(capsys):
    assert ended(capsys, raising(KeyboardInterrupt()), 130) == "stopped\n"


BUGS = [
    KeyError("a"), TypeError("a"), ValueError("a"), AssertionError(), RuntimeError("shapes differ"), IndexError(),
    OSError("libcuda.so: cannot open shared object file"), ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"), RuntimeError("PytorchStreamReader failed finding central directory"),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_a_bug_keeps_its_traceback(bug, capsys):
    with pytest.raises(type(bug)) as caught, exit_on_user_error():
        raise bug
    assert caught.value is bug and not capsys.readouterr().err


def test_a_screen_without_a_letter_still_shows_the_line(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252", write_through=True))
    with exit_on_user_error():
        print("łosoś.wav")
    assert written.getvalue().strip() == b"\\u0142oso\\u015b.wav"
