"""Errors that a user can fix: one line on the screen, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import errno
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_ADVICE = {
    errno.ENOSPC: "Free some space or write to another disk.",
    errno.EDQUOT: "Your quota is used up: free some space or write to another disk.",
    errno.EEXIST: "A folder is expected there.",
    errno.EMFILE: "Raise the limit (ulimit -n) or use fewer workers.",
}
_FULL_DISK = re.compile(r"unexpected pos \d+|PytorchStreamWriter failed")  # how torch.save says that a write failed
_NO_MEMORY = re.compile(r"(CUDA|HIP|XPU) out of memory|STATUS_ALLOC_FAILED|can't allocate memory|not enough memory")
# What PyTorch says where gloo or NCCL has lost another rank.
_LOST_RANK = re.compile(r"(?is)(gloo|nccl|TCPStore|c10d).*(closed|reset by peer|broken pipe|remote process)")
_OF_WORKER = re.compile(r"^Caught \w+ in (?:DataLoader worker|pin memory)")
# Names that functions of torch, shutil and ours give to the file they write, where an error has no file name.
_LOCALS = ("f", "path", "partial", "target", "dst")
_NOT_OPENED = re.compile(r"open file failed with strerror: ([^\n]+)")  # of torch.save
_NOT_LOADED = re.compile(r"Could not load this library: (.+)")  # of torch, for a torchaudio that is not built for it


LONGEST_NAME = 200  # difflib takes minutes for a damaged table's name of 100,000 letters


class UserError(Exception):
    """A mistake that the user can fix. The message says what was expected, what was found and what to change.

    What a message quotes may come from a hostile file: what would steer a screen is shown as an escape.
    """

    def __str__(self) -> str:
        return visible(super().__str__(), keep="\n")


def visible(text: str, keep: str = "") -> str:
    """Replace what is no visible letter or space, such as the orders that a terminal follows, by escapes; `keep` stays.

    Example
    -------
    >>> visible("Łódź \x1b[2J \u202e")
    'Łódź \\\\x1b[2J \\\\u202e'
    """
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known word, or nothing.

    Example
    -------
    >>> did_you_mean("batch_sise", ["batch_size", "lr"])
    " Did you mean 'batch_size'?"
    >>> did_you_mean("zzz", ["batch_size", "lr"])
    ''
    """
    short = [word for word in map(str, known) if len(word) <= LONGEST_NAME] if len(name) <= LONGEST_NAME else []
    close = difflib.get_close_matches(name, short, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def install(*others: str, extra: str = "") -> str:
    """Return the command that installs Lobes: there is no release, so it is installed from a clone of its repository.

    Every text that says how to install Lobes takes the command from here.

    Arguments
    ---------
    *others : str
        Packages that are installed with it.
    extra : str
        One of its extras, such as `demo`.

    Example
    -------
    >>> install()
    'pip install path/to/clone'
    >>> install("julius", extra="demo")
    'pip install "path/to/clone[demo]" julius'
    """
    clone = f'"path/to/clone[{extra}]"' if extra else "path/to/clone"
    return " ".join(["pip install", clone, *others])


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn what a user can fix into one line on stderr and exit code 2. Wrap the body of a command's main in it.

    That is a `UserError`, what the operating system refuses (no space, no permission, a folder in place of a file), and
    too little memory. Ctrl-C ends with code 130. Every other exception is a bug and keeps its traceback.

    A letter that the encoding of the screen or pipe lacks, as in a path, is written as an escape: no reason to stop.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = in_one_line(error)
        if not message:
            raise
        if not isinstance(error, UserError):
            logging.getLogger(__name__).debug("the command ended here:", exc_info=True)  # for the log file of a run
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def in_one_line(error: BaseException) -> str:
    """What a user has to know about an error; nothing where it is not the user's.

    Example
    -------
    >>> in_one_line(PermissionError(13, "Permission denied", "out/mix.wav"))
    'out/mix.wav: Permission denied.'
    >>> in_one_line(OSError("Could not load this library: libtorchaudio.so"))[:54]
    'libtorchaudio.so: not built for this PyTorch. See `lob'
    >>> in_one_line(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"))[:22]
    'another rank has ended'
    >>> in_one_line(KeyError("a bug"))
    ''
    """
    text = str(error)
    if isinstance(error, UserError):
        text = text.rpartition("lobes.errors.UserError: ")[2] if text.startswith("Caught UserError") else text
    elif isinstance(error, OSError) and (library := _NOT_LOADED.match(text)):
        text = f"{library[1]}: not built for this PyTorch. See `lobes doctor`; to install both at once: {install()}"
    elif isinstance(error, OSError):
        text = _of_system(error)
    elif isinstance(error, ModuleNotFoundError) and _of_others(error.name or "lobes"):
        package = str(error.name).partition(".")[0]
        text = f"the package {package} is missing. To install all that Lobes needs: {install()}, of its repository."
    elif is_out_of_memory(error):
        text = f"out of memory: {text.splitlines()[0] if text else 'no reason given'} Use smaller batches or examples."
    elif isinstance(error, RuntimeError) and _LOST_RANK.search(text):
        text = "another rank has ended, and this one with it. Its output says why; the same command goes on."
    elif isinstance(error, RuntimeError) and _FULL_DISK.search(text):
        where = f"{_path_in(error)}: the" if _path_in(error) else "a"
        text = f"{where} file could not be written whole. {_ADVICE[errno.ENOSPC]}"
    elif isinstance(error, RuntimeError) and (reason := _NOT_OPENED.search(text)):
        text = f"{_path_in(error) or 'a file'}: {reason[1].rstrip(' .')}."
    else:
        return ""
    return " ".join(text.split())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of a GPU did not suffice.

    Example
    -------
    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), is_out_of_memory(RuntimeError())
    (True, False)
    """
    text = str(error)
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(text)) or "CUDA error: out of memory" in text


def _of_others(module: str) -> bool:
    """Whether a module is not one of ours: a missing one of ours is a bug."""
    return module.partition(".")[0] != "lobes"


def _of_system(error: OSError) -> str:
    """The file and the reason; nothing for broken connections and for what libraries call an OSError."""
    if isinstance(error, ConnectionError | ChildProcessError | InterruptedError | BlockingIOError | TimeoutError):
        return ""
    number, reason, path = error.errno, error.strerror, error.filename
    if _OF_WORKER.match(str(error)):  # torch keeps the text alone
        found = re.search(r"\[Errno (\d+)\] (.+?)(?:: (['\"])(.+)\3)?$", str(error).rstrip())
        number, reason, path = (int(found[1]), found[2], found[4]) if found else (None, None, None)
    if number is None or reason is None:
        return ""
    path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else _path_in(error)
    return f"{path or 'a file'}: {reason}. {_ADVICE.get(number, '')}"


def _path_in(error: BaseException) -> str:
    """The file that the innermost function of a traceback was busy with, or nothing."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for name, value in frame.f_locals.items():
            if isinstance(value, io.IOBase) and isinstance(opened := getattr(value, "name", None), str):
                return opened
            if name in _LOCALS and isinstance(value, str | os.PathLike):
                return os.fspath(value)
    return ""
