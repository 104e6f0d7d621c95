"""The common parts of the benchmarks: clocks, work in turns, and a JSON file that says where its numbers come from."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MEGABYTE = 2**20
Times = dict[str, list[float]]


def known_device(name: str) -> str:
    """A device that there is here, as the type of an argument."""
    from lobes.config.device import check_device

    check_device(name)
    return name


def result_file(text: str) -> Path:
    """A file that can be written, as the type of an argument: it is tried before anything is measured."""
    from lobes.errors import UserError
    from lobes.training.checks import refuse_unwritable

    path = Path(text)
    if path.is_dir():
        raise UserError(f"--output {text}: is a folder, expected a file.")
    refuse_unwritable(path.parent, "--output")
    return path


def timed(work: Callable[[], object], device: str = "cpu") -> dict[str, float]:
    """CPU and wall seconds of one piece of work."""
    synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    synchronize()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def in_turns(
    work: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu", warm: int = 1
) -> dict[str, dict[str, float]]:
    """Run all pieces of work again and again in turns, so that a busy machine slows them alike.

    The first `warm` rounds compile and fill caches; they are not counted. Returns minimum and median of each clock.
    """
    times: dict[str, Times] = {name: {"cpu": [], "wall": []} for name in work}
    for round_ in range(repeats + warm):
        for name, function in work.items():
            clocks = timed(function, device)
            for clock, value in clocks.items() if round_ >= warm else ():
                times[name][clock].append(value)
    return {name: summary(clocks) for name, clocks in times.items()}


def summary(clocks: Times) -> dict[str, float]:
    """Minimum and median of each clock."""
    found = {}
    for clock, values in clocks.items():
        found[f"{clock}_min"] = round(min(values), 6)
        found[f"{clock}_median"] = round(statistics.median(values), 6)
    return found


def about(**more: Any) -> dict[str, Any]:
    """Command, commit, machine: what it takes to run a benchmark again."""
    from lobes.runs.provenance import commit, machine

    words = [Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:]]  # no place of one machine
    command = " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *words])
    return {
        "command": command,
        "commit": commit(),
        "machine": machine(),
        "torch": torch.__version__,
        "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        **more,
    }


def rows_so_far(path: Path, where: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of an earlier, stopped run of this commit on this machine."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = all(found.get(key) == where[key] for key in ("commit", "machine", "torch"))
    return [row for row in found.get("rows", []) if "failed" not in row] if same else []


def save(result: Mapping[str, Any], path: Path) -> None:
    """Write the JSON file without a word, as after each row of a long table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def write(result: Mapping[str, Any], path: Path) -> None:
    """Write the JSON file, and say so."""
    save(result, path)
    print(f"wrote {os.path.relpath(path)}")
