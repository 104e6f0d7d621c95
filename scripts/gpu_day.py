#!/usr/bin/env python3
"""The first hours on a GPU: check, measure and tune the selective scan there, time all presets, train four of them.

> make gpu-day ARGS="-o DAY"                    # or: python scripts/gpu_day.py -o DAY
> python scripts/gpu_day.py -o DAY --parts 0 1 --peer mamba_ssm-2.3.2.tar.gz
> python scripts/gpu_day.py -o DAY --parts 5 --rows tf_gridnet --recordings FOLDER
> python scripts/gpu_day.py -o DAY --dry        # all of it on a CPU: Triton's interpreter, tiny shapes, a few steps
> python scripts/gpu_day_tables.py DAY          # the tables

Parts: 0 facts of the device, and whether the scan is right there; 1 the scan's speed against mamba_ssm's kernel;
2 other constants of the kernels; 3 the tests that need a GPU; 4 seconds and memory of a training step of each full
preset; 5 trainings on real speech. Each writes DAY/part_N.json row by row; a row that is there is not done again, one
that failed is. A call ends after --call_minutes, and the same command goes on. Exit code 0: all is done; 1: some row
failed; 3: some rows are left; 2: a mistake on the command line, or no GPU. No file of the checkout is written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from gpu_day_rows import AGAIN, DONE, FAILED, LEFT, PARTS, PartFile, Settings, path_of, work_off

from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error

ROOT = Path(__file__).resolve().parents[1]
GRACE = 45.0  # seconds in which a part ends when its time is up: a training writes a checkpoint
LOG = "gpu_day.log"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts, each in a process of its own, and return the exit code."""
    options = parse(argv)
    settings = Settings(options.out, options.dry, options.peer, options.recordings, options.minutes)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes of this one are ended, too
    if options.child is not None:
        return work_off(options.child, settings, options.rows, options.until, options.call_minutes)
    refuse_without_gpu(options.dry)
    until = time.time() + 60 * options.call_minutes
    codes = [run(number, options, until) for number in options.parts]
    print(f"tables: python scripts/gpu_day_tables.py {options.out}", flush=True)
    return 1 if any(code == 1 for code in codes) else max(codes)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "-o", "--out", type=Path, default=ROOT.parent / "gpu_day", help="folder (default: gpu_day next to the checkout)"
    )
    add("--parts", type=arguments.from_zero, nargs="+", default=list(range(len(PARTS))), help="default: all")
    add("--rows", nargs="+", default=[], metavar="WORD", help="only rows whose name has one of these words")
    add("--dry", action="store_true", help="on a CPU, with tiny shapes: shows that everything runs")
    add("--peer", type=Path, metavar="FILE", help="mamba_ssm's source distribution, if it is not installed")
    add("--recordings", type=Path, metavar="FOLDER", help="of part 5, as for recipes/PolSESS/realdata.py")
    add("--minutes", type=arguments.positive, default=8.0, help="of each training (default: %(default)s)")
    add("--call_minutes", type=arguments.positive, default=9.0, help="when a call ends (default: %(default)s)")
    add("--child", type=int, help=argparse.SUPPRESS)
    add("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if unknown := [number for number in options.parts if number >= len(PARTS)]:
        raise UserError(f"--parts {unknown[0]}: there are parts 0 to {len(PARTS) - 1}.")
    for name in ("peer", "recordings"):
        if (path := getattr(options, name)) and not path.exists():
            raise UserError(f"--{name} {path}: no such file or folder.")
    options.out = options.out.resolve()
    return options


def refuse_without_gpu(dry: bool) -> None:
    """Stop where there is nothing to measure."""
    import torch

    if not dry and not torch.cuda.is_available():
        raise UserError("PyTorch finds no CUDA device here. Give --dry to run all parts in small on a CPU.")


def run(number: int, options: argparse.Namespace, until: float) -> int:
    """Work off a part in processes of its own; 0, 1 (a row failed) or LEFT."""
    from _common import about

    file = PartFile(path_of(options.out, number))
    file.begin(about(part=number), options.dry)
    if file.content["finished"]:
        print(f"part {number}: done before", flush=True)
        return DONE
    if time.time() >= until:
        print(f"part {number}: time is up, the same command goes on", flush=True)
        return LEFT
    with (options.out / LOG).open("a", encoding="utf-8") as log:
        code = AGAIN
        while code == AGAIN:
            code = in_a_process(number, options, until, log)
            file = PartFile(file.path)
            if code not in (DONE, LEFT, AGAIN):
                code = ended_badly(file, code, until)
    failed = {label: row[FAILED] for label, row in file.rows.items() if FAILED in row}
    state = "failed in " + ", ".join(failed) if failed else "time is up, the same command goes on" if code else "done"
    print(f"part {number}: {len(file.rows) - len(failed)} rows; {state}", flush=True)
    return 1 if failed else code


def in_a_process(number: int, options: argparse.Namespace, until: float, log: IO[str]) -> int:
    """Run a part and show and log its words; its exit code."""
    command = [sys.executable, __file__, *words_of(options), "--child", str(number), "--until", str(until)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    with ending(subprocess.Popen(command, cwd=ROOT, env=environment(options.dry), errors="replace", **piped)) as child:
        copying = threading.Thread(target=copy, args=(child.stdout, log), daemon=True)
        copying.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(1.0, until - time.time()))
    copying.join(5)
    return child.returncode


@contextlib.contextmanager
def ending(child: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process that is still there: in order, and if it does not answer, at once."""
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def words_of(options: argparse.Namespace) -> list[str]:
    """The command line for a part's process."""
    words = ["-o", str(options.out), "--minutes", str(options.minutes), "--call_minutes", str(options.call_minutes)]
    words += ["--dry"] * options.dry + (["--rows", *options.rows] if options.rows else [])
    for name in ("peer", "recordings"):
        words += [f"--{name}", str(getattr(options, name).resolve())] if getattr(options, name) else []
    return words


def environment(dry: bool) -> dict[str, str]:
    """The variables of a part's process: a dry one sees no GPU, a true one does not interpret."""
    known = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**known, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""} if dry else known


def copy(lines: IO[str], log: IO[str]) -> None:
    """Show lines and write them into the log."""
    for line in lines:
        print(line, end="", flush=True)
        log.write(line)
        log.flush()


def ended_badly(file: PartFile, code: int, until: float) -> int:
    """Note why a part's process ended before its rows did; how to go on."""
    running, late = file.content["running"], time.time() >= until
    if not (late and code in (-signal.SIGTERM, 128 + signal.SIGTERM)):  # it was not ended in order
        file.add(running or "start", {FAILED: f"its process ended with exit code {code}: see {LOG}"})
    return LEFT if late else AGAIN if running else DONE


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
