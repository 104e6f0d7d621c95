#!/usr/bin/env python3
"""Change files and options at random: each is read as it is or refused in one line, and nothing else happens.

> python scripts/fuzz.py
> python scripts/fuzz.py --target audio --count 2000 --seed 5
> python scripts/fuzz.py --target audio --seed 5 --only 137

A change depends on the target, the seed and its number alone; `--only` repeats one. Failures are a traceback, a message
of no use, a result that is not what stands there ("silent"), a hang and a crash. Their files are kept in
results/fuzz, with the command that repeats them. Targets run one after another, each in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has no limit of memory
    resource = None  # type: ignore[assignment]
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    "audio": "fuzz_audio:Target",
    "tables": "fuzz_tables:Target",
    "options": "fuzz_options:Target",
    "recipes": "fuzz_options:Recipes",
    "exports": "fuzz_models:Target",
    "weights": "fuzz_models:Weights",
    "checker": "fuzz_models:Checker",
}
GOOD = ("fine", "refused")
LONGEST = 2000  # characters of a message
START = 600.0  # seconds for imports and files of a target, also on a busy machine
MEMORY = 24 << 30  # address space of a process; PyTorch takes some of it by itself


def main() -> int:
    """Run the targets; 1 where one failed."""
    from lobes.data import arguments

    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--target", choices=TARGETS, action="append", help="by default all")
    add("--count", type=arguments.count, default=400, help="changes of each target (default: %(default)s)")
    add(
        "--seconds",
        type=arguments.positive,
        default=240,
        help="at most so many for each target, from its start on (default: %(default)s)",
    )
    add("--limit", type=arguments.positive, default=90, help="seconds after which one is a hang (default: %(default)s)")
    add("--seed", type=arguments.from_zero, default=1)
    add("--only", type=arguments.from_zero, help="repeat one by its number")
    add(
        "--commands", type=arguments.from_zero, default=2, help="of each target so many refused ones again as a command"
    )
    add("--output", type=Path, default=ROOT / "results" / "fuzz", help="default: %(default)s")
    options = parser.parse_args()
    counts = {name: run_target(name, options) for name in options.target or TARGETS}
    print(f"seed {options.seed}", *(f"{name}: {words(count)}" for name, count in counts.items()), sep="\n")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "counts.json").write_text(
        json.dumps({"seed": options.seed, **counts}, indent=1) + "\n", encoding="utf-8"
    )
    return int(any(set(count) - set(GOOD) for count in counts.values()))


def words(count: Counter[str]) -> str:
    """Counts in words."""
    return f"{sum(count.values())} changes, " + ", ".join(f"{n} {kind}" for kind, n in count.most_common())


def run_target(name: str, options: argparse.Namespace) -> Counter[str]:
    """Run one target in processes of its own: a new one behind each hang and crash. Their start takes no time."""
    numbers = list(range(options.count)) if options.only is None else [options.only]
    counts: Counter[str] = Counter()
    left = options.seconds
    while numbers and left > 0:
        with started(name, numbers, options) as (child, pipe):
            begin = time.monotonic()
            for number, verdict, detail in verdicts(child, pipe, numbers, options.limit, begin + left):
                numbers = numbers[numbers.index(number) + 1 :]
                counts[verdict] += 1
                if verdict not in GOOD or options.only is not None:
                    print(f"{name} {number}: {verdict}: {detail}", flush=True)
                if verdict not in GOOD:
                    keep(name, number, options, f"{verdict}: {detail}")
            left -= time.monotonic() - begin
    return counts


@contextlib.contextmanager
def started(name: str, numbers: list[int], options: argparse.Namespace) -> Iterator[tuple[Any, Any]]:
    """A child process that has made its target, and the pipe from it; killed in the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(name, numbers, options.seed, options.commands, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(START):
            raise EOFError
        ours.recv()
        yield child, ours
    except EOFError:
        raise SystemExit(f"{name}: the target does not start") from None
    finally:
        child.kill()
        child.join()


def verdicts(child: Any, pipe: Any, numbers: list[int], limit: float, end: float) -> Iterator[tuple[int, str, str]]:
    """What a child process says of each number, up to the first hang or crash."""
    for number in numbers:
        if time.monotonic() > end:
            return
        if not pipe.poll(limit):
            yield number, "hang", f"nothing came for {limit:g} s"
            return
        try:
            found = pipe.recv()
        except EOFError:
            child.join()
            yield number, "crash", f"the process ended with {child.exitcode}"
            return
        yield found


def work(name: str, numbers: list[int], seed: int, commands: int, pipe: Any) -> None:
    """The child process: try each number, and say what came of it."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with TemporaryDirectory() as folder, quiet():
        target = make(name, Path(folder))
        pipe.send("ready")
        for number in numbers:
            verdict, detail = check(target, seed, number)
            if verdict == "refused" and commands > 0:
                commands, (verdict, detail) = commands - 1, by_command(target, seed, number)
            pipe.send((number, verdict, detail))


def make(name: str, folder: Path) -> Any:
    """A target of its name, with a folder to work in."""
    module, _, kind = TARGETS[name].partition(":")
    return getattr(import_module(module), kind)(folder)


def check(target: Any, seed: int, number: int) -> tuple[str, str]:
    """Make one change and look at what comes of it: the verdict, and the change with what was wrong."""
    from lobes.errors import UserError, in_one_line

    case = target.change(generator(target, seed, number))
    try:
        problem = target.run(case)
    except UserError as error:
        text = in_one_line(error)  # what a command prints
        lines = len(str(error).splitlines())  # what a program that calls us gets
        fits = 0 < len(text) <= LONGEST and lines == 1
        problem = "" if fits else f"{len(text)} letters in {lines} lines, {text[:200]!r}"
        return ("no message" if problem else "refused"), f"{case.what}: {problem}"
    except Exception:
        return "traceback", f"{case.what}: {traceback.format_exc()[-700:]}"
    return ("silent" if problem else "fine"), f"{case.what}: {problem}"


def by_command(target: Any, seed: int, number: int) -> tuple[str, str]:
    """The same by the command that a user types: exit code 2 and one line on stderr."""
    case = target.change(generator(target, seed, number))
    command, *words = target.command(case)
    program = ["-m", "lobes.cli"] if command == "lobes" else [command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [word.encode("utf-8", "backslashreplace").decode().replace("\0", "") for word in words]
    done = subprocess.run(
        [sys.executable, *program, *words], cwd=ROOT, env=environment, capture_output=True, timeout=120
    )
    errors = [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith("error: ")]
    if done.returncode == 2 and len(errors) == 1 and b"Traceback" not in done.stderr:
        return "refused", case.what
    return "command", f"{case.what}: exit code {done.returncode}, {done.stderr.decode(errors='replace')[-300:]!r}"


def generator(target: Any, seed: int, number: int) -> np.random.Generator:
    """The generator of one change."""
    return np.random.default_rng([seed, zlib.crc32(target.name.encode()), number])


def keep(name: str, number: int, options: argparse.Namespace, detail: str) -> None:
    """Leave the files of a failure in results/fuzz, with the command that repeats it."""
    folder = options.output / f"{name}-{options.seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    repeat = f"python scripts/fuzz.py --target {name} --seed {options.seed} --only {number}"
    (folder / "README.txt").write_text(f"{repeat}\n{detail}\n", encoding="utf-8", errors="backslashreplace")
    if name in ("audio", "tables", "recipes"):
        with TemporaryDirectory() as scratch:
            target = make(name, Path(scratch))
            target.write(target.change(generator(target, options.seed, number)), folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the notes of libraries in C, and warnings of ours, off the screen."""
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    before = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(null, number)
    try:
        yield
    finally:
        for number, old in zip((1, 2), before, strict=True):
            os.dup2(old, number)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from lobes.errors import exit_on_user_error

    with exit_on_user_error():
        sys.exit(main())
