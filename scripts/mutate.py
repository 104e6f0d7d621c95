#!/usr/bin/env python3
"""Break the code one line at a time and report the breaks that no test notices.

> python scripts/mutate.py
> python scripts/mutate.py --only "PIT: worst instead of best" --minutes 5

Each entry of scripts/mutations.py is put into a copy of the checkout, the tests that it names run there, and the line
is put back. The files of the checkout itself are never written to. What was found is kept in results/mutations.json
under a hash of the entry, the file it breaks and its tests, so that a second call runs only what has changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from mutations import Mutation
from tqdm import tqdm

TIMEOUT = 300.0  # seconds for the tests of one entry
KILLED, SURVIVED, STALE, STOPPED, NOT_RUN = "killed", "SURVIVED", "STALE", "STOPPED", "not run"


@dataclass(frozen=True)
class Outcome:
    """The outcome of an entry: the verdict, the test that noticed or the reason, and how long its tests took."""

    verdict: str
    detail: str = ""
    seconds: float = 0.0


def read_mutations(path: Path) -> list[Mutation]:
    """The list `MUTATIONS` of a Python file; each name stands once."""
    mutations = [Mutation(*entry) for entry in runpy.run_path(str(path))["MUTATIONS"]]
    names = [mutation.name for mutation in mutations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SystemExit(f"{path}: each name must stand once; twice: {', '.join(twice)}")
    return mutations


def stale(root: Path, mutation: Mutation) -> str:
    """The reason for which an entry no longer fits the checkout, or nothing."""
    file = root / mutation.file
    if not file.is_file():
        return f"{mutation.file}: no such file"
    found = file.read_text(encoding="utf-8").count(mutation.old)
    if found != 1:
        return f"{mutation.file}: expected the old text once, found it {found} times"
    missing = [test for test in mutation.tests if not (root / file_of(test)).exists()]
    return f"no such tests: {', '.join(missing)}" if missing else ""


def file_of(test: str) -> str:
    """The file of a test's node id."""
    return test.partition("::")[0]


def digest(root: Path, mutation: Mutation) -> str:
    """Hash of an entry with the contents of the file that it breaks, of its tests and of their conftest.py files."""
    files = {mutation.file, *map(file_of, mutation.tests)}
    for test in map(file_of, mutation.tests):
        files |= {str(folder / "conftest.py") for folder in Path(test).parents}
    hashed = hashlib.sha256(json.dumps(mutation._asdict(), sort_keys=True).encode())
    for path in (root / name for name in sorted(files)):
        if path.is_file():
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def copy_checkout(root: Path, folder: Path) -> None:
    """Copy what git holds or would hold."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)


def run_tests(folder: Path, tests: Iterable[str], timeout: float) -> tuple[int | None, str]:
    """Exit code of pytest in a folder, None where it took too long, and what it printed. Stops at the first failure."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *tests]
    # without byte code: two breaks of one length within a second would look alike to Python's cache
    settings = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    settings["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # no test needs one, and hypothesis' takes a second to load
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            printed = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            kill_all(process)
            return None, process.communicate()[0]
        except BaseException:
            kill_all(process)
            raise
    return process.returncode, printed


def kill_all(process: subprocess.Popen[str]) -> None:
    """End pytest, and first the processes that its tests have started."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.kill()


def noticed_by(printed: str) -> str:
    """The first failed test in pytest's output."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", printed, re.MULTILINE)
    return found.group(1) if found else ""


def judge(folder: Path, mutation: Mutation) -> Outcome:
    """Break the line in the copy, run the tests, put the line back. They pass unbroken, so a failure is the break's."""
    path, start = folder / mutation.file, time.monotonic()
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        code, printed = run_tests(folder, mutation.tests, TIMEOUT)
    finally:
        path.write_text(whole, encoding="utf-8")
    seconds = round(time.monotonic() - start, 1)
    if code is None or code == -9:  # SIGKILL, which Windows does not name
        return Outcome(STOPPED, "took too long, or the machine had no memory left", seconds)
    return Outcome(KILLED, noticed_by(printed), seconds) if code else Outcome(SURVIVED, seconds=seconds)


def refuse_failing_tests(folder: Path, mutations: Sequence[Mutation]) -> None:
    """Stop where a named test fails in the unbroken code, or is not there: it would seem to notice every break."""
    tests = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
    code, printed = run_tests(folder, tests, TIMEOUT + 10 * len(tests))
    if code != 0:
        raise SystemExit(f"{printed[-2000:]}\nThe named tests must pass before anything is broken.")


class Memory:
    """The outcomes of earlier calls, in a JSON file, each with the hash of what it depends on."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / "results" / "mutations.json"
        self.known: dict[str, dict] = {}
        if self.path.is_file():
            self.known = json.loads(self.path.read_text(encoding="utf-8"))

    def recall(self, mutation: Mutation) -> Outcome | None:
        """The outcome of an entry, if nothing has changed since."""
        entry = dict(self.known.get(mutation.name, {}))
        return Outcome(**entry) if entry.pop("key", None) == digest(self.root, mutation) else None

    def keep(self, mutation: Mutation, outcome: Outcome, key: str) -> None:
        """Add an outcome under the hash of what was run; the file is written whole or not at all."""
        self.known[mutation.name] = {"key": key, **dataclasses.asdict(outcome)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, self.path)


def look_up(mutation: Mutation, memory: Memory) -> Outcome:
    """The outcome of an entry that needs no tests, if there is one."""
    reason = stale(memory.root, mutation)
    if reason:
        return Outcome(STALE, reason)
    return memory.recall(mutation) or Outcome(NOT_RUN, "the minutes are used up; call again to go on")


def run_pending(pending: Sequence[Mutation], memory: Memory, minutes: float) -> dict[str, Outcome]:
    """Judge entries in a copy of the checkout while there is time; those that survive are said at once."""
    end, outcomes = time.monotonic() + 60 * minutes, {}
    with TemporaryDirectory(prefix="lobes_mutations_") as temporary:
        copy_checkout(memory.root, Path(temporary))
        refuse_failing_tests(Path(temporary), pending)
        for mutation in tqdm(pending, unit="break", disable=None):
            if time.monotonic() > end:
                break
            outcome = outcomes[mutation.name] = judge(Path(temporary), mutation)
            if outcome.verdict != KILLED:
                tqdm.write(line_of(mutation, outcome))
            if outcome.verdict != STOPPED:
                memory.keep(mutation, outcome, digest(Path(temporary), mutation))
    return outcomes


def line_of(mutation: Mutation, outcome: Outcome) -> str:
    """An entry's line in the report."""
    return f"{outcome.verdict:<9} {mutation.name} ({mutation.file}) {outcome.detail}".rstrip()


def report(mutations: Sequence[Mutation], outcomes: dict[str, Outcome]) -> bool:
    """Print a line for each entry and the counts; whether all were killed."""
    for mutation in mutations:
        print(line_of(mutation, outcomes[mutation.name]))
    verdicts = [outcomes[mutation.name].verdict for mutation in mutations]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    print(f"{len(verdicts)} breaks: {counts}")
    return set(verdicts) <= {KILLED}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where each break was noticed; 1 where one survived, is stale, was stopped or was not run."""
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="no new break is tried after that (default: 60)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this entry; may be given several times")
    parser.add_argument("--root", type=Path, default=here, help="the checkout (default: the one this file is in)")
    given = parser.parse_args(arguments)
    mutations = read_mutations(given.root / "scripts" / "mutations.py")
    unknown = sorted(set(given.only or ()) - {mutation.name for mutation in mutations})
    if unknown:
        parser.error(f"no such entry: {', '.join(unknown)}")
    chosen = [mutation for mutation in mutations if not given.only or mutation.name in given.only]
    memory = Memory(given.root)
    outcomes = {mutation.name: look_up(mutation, memory) for mutation in chosen}
    pending = [mutation for mutation in chosen if outcomes[mutation.name].verdict == NOT_RUN]
    if pending:
        print(
            f"{len(chosen) - len(pending)} entries known, {len(pending)} to run; first their tests, unbroken",
            flush=True,
        )
        outcomes |= run_pending(pending, memory, given.minutes)
    return 0 if report(chosen, outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
