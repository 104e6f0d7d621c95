"""Checks in a process of their own: it may end in any way, by a signal or for want of memory, and that is a finding.

The process writes what it is about to do and what it found, line by line, into a file that the parent reads:
`python -m lobes.doctor.child REPORT machine` or `... REPORT recipe ARGUMENT...`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lobes.doctor.finding import FAIL, Finding, in_bytes
from lobes.doctor.machine import available_memory
from lobes.doctor.report import Reporter
from lobes.errors import in_one_line
from lobes.runs.watched import wait_within

RESERVE = 0.97  # of the free memory: what takes more would push everything else out


def in_child(what: str, arguments: Sequence[str] = ()) -> Iterator[Finding]:
    """Run `what`, "machine" or "recipe", in a process of its own and return what it found and how it died, if it did.

    It is stopped when it takes more memory than was free, before it does harm to others.
    """
    with tempfile.TemporaryDirectory(prefix="lobes_doctor_") as folder:
        report, output = Reporter(Path(folder, "report.jsonl")), Path(folder, "output")
        command = [sys.executable, "-m", "lobes.doctor.child", str(report.path), what, *arguments]
        with open(output, "wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            try:
                taken = wait_within(process, available_memory()[0] * RESERVE)
            finally:
                process.kill()
                process.wait()
        found, at = report.read()
        yield from found
        if process.returncode:
            yield death(at, process.returncode, output.read_text(encoding="utf-8", errors="replace"), taken)


def death(at: str, code: int, output: str, taken: float = 0.0) -> Finding:
    """The finding about a process that ended by itself or by a signal.

    Example
    -------
    >>> death("import of torch", -11, "").text
    'the process was ended by SIGSEGV in: import of torch.'
    """
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    if taken or (hasattr(signal, "SIGKILL") and code == -signal.SIGKILL):
        taking = f"stopped at {in_bytes(taken)}, which is what was free" if taken else "the system ended the process"
        return Finding(FAIL, "memory", f"out of memory in: {at} ({taking}). {LESS_MEMORY}")
    if code < 0:
        return Finding(FAIL, at, f"the process was ended by {signal.Signals(-code).name} in: {at}. {last}".strip())
    return Finding(FAIL, at, f"the process ended with code {code} in: {at}. {last}".strip())


LESS_MEMORY = "Lower --batch_size or --training_signal_len, or choose a smaller --preset."


def explain(at: str, error: BaseException) -> Finding:
    """The finding about an exception."""
    message = in_one_line(error)
    if message.startswith("out of memory"):
        return Finding(FAIL, "memory", f"{message} In: {at}. {LESS_MEMORY}")
    if isinstance(error, ImportError | OSError | AttributeError) and at == "imports":
        advice = "Look at the versions above, and install all at once."
        return Finding(FAIL, at, f"importing PyTorch, torchaudio or SpeechBrain fails: {error}. {advice}")
    return Finding(FAIL, at, message or f"{type(error).__name__}: {error}")


def main(argv: Sequence[str]) -> None:
    """The process itself."""
    report, what, arguments = Reporter(argv[0]), argv[1], list(argv[2:])
    try:
        if what == "machine":
            _machine(report)
        else:
            from lobes.training.launch import announce

            announce()  # as train.py does before it imports PyTorch
            from lobes.doctor.recipe import examine

            examine(arguments, report)
    except (Exception, SystemExit) as error:
        if not isinstance(error, SystemExit) or error.code:
            report.say(explain(report.read()[1], error))


def _machine(report: Reporter) -> None:
    from lobes.doctor.compiled import CHECKS

    for check in CHECKS:
        at = check.__name__.removeprefix("check_")
        report.at(at)
        try:
            for finding in check():
                report.say(finding)
        except Exception as error:
            report.say(explain(at, error))
            if at == "imports":
                return


if __name__ == "__main__":
    main(sys.argv[1:])
