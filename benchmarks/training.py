#!/usr/bin/env python3
"""What does a training step cost? Seconds and peak memory of the presets, on 1 s and 4 s of audio.

> python benchmarks/training.py [--presets spmamba_small ...] [--seconds 1 4] [--threads 1] [--device cpu]

A step is forward, loss (SI-SNR with permutations), backward and Adam on one random mixture; enhancement has one source.
Every row comes from a fresh process: fp32 and bf16 (autocast), with and without gradient checkpointing where the model
has it. Rows are kept as they come: after an interruption the same command on the same commit goes on. On a CPU the last
lines compare `spmamba_small` on 1 s with the numba scan and with the reference scan, on one thread, taking turns in one
process: once where the C library hands freed memory back to the system, as Python comes, and once where it is kept, as
our training does, which the reference gains most from. After them our training loop and SpeechBrain's plain loop take
turns, which says what the guards of a step cost (`--guards`: nothing but that). The JSON file has all rows; the
Markdown file has one line for each preset.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, about, in_turns, known_device, result_file, save, write
from _guards import guards

from lobes.config import read_preset
from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.models import get_model, list_models
from lobes.objectives import separation_loss
from lobes.training.memory import keep_freed_memory, peak_megabytes

AT_LEAST = 6.0  # times as fast as with the reference scan: spmamba_small, 1 s of audio
COMPARED = "spmamba_small"
# A quick step, of which a guard takes the largest share, and a usual one, which takes long and fewer turns.
GUARDED = {"convtasnet_tiny": 1, "spmamba_small": 4}
MEMORY = ("handed back", "kept")  # what the C library does with freed memory
SLOW = 600  # seconds after which a row is given up


def main() -> None:
    """Measure row by row, print, write the JSON file; or, as a process of its own, print one row."""
    options = parse()
    if options.child:
        print(json.dumps(measure(json.loads(options.child))))
        return
    result = about(threads=options.threads, device=options.device, repeats=options.repeats, seed=1234, rows=[])
    if options.guards:
        before = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else result
        where = {key: result[key] for key in ("command", "commit", "machine", "load")}
        write({**before, "guards": {**where, "rows": cost_of_guards(options)}}, options.output)
        return
    before, todo = rows_of(options.output, result["commit"]), cases(options)
    for number, case in enumerate(todo, 1):
        print(f"{number:3}/{len(todo)} {label(case)}", end="  ", flush=True)
        result["rows"].append(before.get(label(case)) or fresh(case))
        print(words(result["rows"][-1]), flush=True)
        save(result, options.output)
    if options.device == "cpu":
        result["against_reference"] = {memory: against_reference(memory, options.repeats) for memory in MEMORY}
        result["guards"] = {"rows": cost_of_guards(options)}
    write(result, options.output)
    options.output.with_suffix(".md").write_text(table(result), encoding="utf-8")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--presets", nargs="+", choices=list_models(), default=list_models(), help="default: all")
    add("--seconds", nargs="+", type=arguments.positive, default=[1.0, 4.0], help="of audio")
    add("--threads", type=arguments.count, default=1)
    add("--repeats", type=arguments.count, default=1, help="steps, after one that is not counted")
    add("--device", type=known_device, default="cpu")
    add("--output", type=result_file, default=RESULTS / "training.json")
    add("--guards", action="store_true", help="only the cost of the guards, on a CPU; other rows of the file stay")
    add("--turns", type=arguments.count, default=21, help="of each loop, for the cost of the guards")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows of the table."""
    same = {"threads": options.threads, "device": options.device, "repeats": options.repeats}
    return [
        {"preset": preset, "seconds": seconds, "precision": precision, "checkpointing": checkpointing, **same}
        for preset in options.presets
        for seconds in options.seconds
        for precision in ("fp32", "bf16")
        for checkpointing in ((False, True) if "gradient_checkpointing" in read_preset(preset).options else (False,))
    ]


def label(case: dict[str, Any]) -> str:
    """The columns that set a row apart from all others of a table."""
    checkpointing = "checkpointing" if case["checkpointing"] else ""
    where = f"{case['device']}, {case['threads']} thread(s), {case['repeats']} step(s)"
    return f"{case['preset']:25}{case['seconds']:4g} s  {case['precision']}  {checkpointing:13}  {where}"


def rows_of(path: Path, commit: str) -> dict[str, dict[str, Any]]:
    """The rows of a file, by their labels, if it was written on this commit; with a plus behind it code has changed."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = before.get("commit") == commit and not commit.endswith("+")
    return {label(row): row for row in before["rows"]} if same else {}


def fresh(case: dict[str, Any]) -> dict[str, Any]:
    """One row from a process of its own; where that fails, the row says how."""
    command = [sys.executable, __file__, "--child", json.dumps(case)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=SLOW)
    except subprocess.TimeoutExpired:
        return {**case, "failed": f"more than {SLOW} s"}
    if done.returncode != 0:
        why = "killed: out of memory?" if done.returncode < 0 else done.stderr.strip().splitlines()[-1]
        return {**case, "failed": why}
    return {**case, **json.loads(done.stdout.splitlines()[-1])}


def words(row: dict[str, Any]) -> str:
    """The words of a row, for the terminal and for a cell of the table."""
    return row.get("failed") or f"{row['wall_median']:.2f} s, {row['peak_megabytes'] / 1024:.2f} GB"


def table(result: dict[str, Any]) -> str:
    """One line for each preset and length: seconds of a step and peak memory."""
    kinds = [(precision, checkpointing) for checkpointing in (False, True) for precision in ("fp32", "bf16")]
    cells: dict[tuple[str, float], dict[tuple[str, bool], str]] = {}
    for row in result["rows"]:
        place = cells.setdefault((row["preset"], row["seconds"]), {})
        place[row["precision"], row["checkpointing"]] = words(row)
    lines = [
        "# Seconds and peak memory of a training step\n",
        f"Written by `{result['command']}`, commit {result['commit']}; seed {result['seed']}; {result['machine']}.",
        "Batch 1; the memory is that of the whole process, with Python and its libraries.\n",
        "| preset | audio | fp32 | bf16 | fp32, checkpointing | bf16, checkpointing |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for (preset, seconds), found in cells.items():
        lines.append(f"| {preset} | {seconds:g} s | " + " | ".join(found.get(kind, "") for kind in kinds) + " |")
    return "\n".join(lines) + "\n"


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a step and the process's highest memory; where the case names "memory", both scans' seconds."""
    torch.set_num_threads(case["threads"])
    if case.get("memory") != MEMORY[0]:
        keep_freed_memory()
    step = training_step(case)
    if "memory" in case:
        return by_both_scans(step, case["repeats"])
    times = in_turns({"step": step}, case["repeats"], case["device"])["step"]
    return {**times, "peak_megabytes": round(peak_megabytes(case["device"]), 1)}


def training_step(case: dict[str, Any]) -> Callable[[], None]:
    """A step of a model on random audio, ready to be called."""
    torch.manual_seed(1234)
    overrides = {"gradient_checkpointing": True} if case["checkpointing"] else {}
    model = get_model(case["preset"], **overrides).to(case["device"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    samples = int(case["seconds"] * model.sample_rate)
    sources = torch.randn(1, samples, model.num_sources, device=case["device"])
    half = case["precision"] == "bf16"

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(case["device"], dtype=torch.bfloat16) if half else nullcontext():
            estimates = model(sources.sum(-1))
        separation_loss(estimates, sources).mean().backward()
        optimizer.step()

    return step


def against_reference(memory: str, repeats: int) -> dict[str, Any]:
    """Compare the scans in a process of its own, on one thread, and print the factor."""
    case = {"preset": COMPARED, "seconds": 1.0, "precision": "fp32", "checkpointing": False, "device": "cpu"}
    row = fresh({**case, "threads": 1, "repeats": repeats, "memory": memory})
    result = row.get("failed") or f"{row['factor']} times as fast as with the reference scan (at least {AT_LEAST:g})"
    print(f"{COMPARED}, 1 s, freed memory {memory}: {result}", flush=True)
    return row


def cost_of_guards(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare our loop with SpeechBrain's, and print the difference."""
    torch.set_num_threads(options.threads)
    rows = []
    for preset, fewer in GUARDED.items():
        rows.append(row := guards(preset, turns=-(-options.turns // fewer)))
        words = f"{row['wall_percent']:+.2f} % of a step (at most {row['at_most']:g} %), {row['operations']} operations"
        print(f"guards, {preset}, 1 s: {words}, {row['waits']} waits", flush=True)
    return rows


def by_both_scans(step: Callable[[], None], repeats: int) -> dict[str, Any]:
    """A step with the numba scan and with the reference scan, in turns."""

    def by(backend: str) -> Callable[[], None]:
        def run() -> None:
            os.environ["LOBES_SCAN_BACKEND"] = backend
            step()

        return run

    times = in_turns({name: by(name) for name in ("numba", "reference")}, repeats)
    factor = round(times["reference"]["wall_min"] / times["numba"]["wall_min"], 1)
    return {**times, "factor": factor, "at_least": AT_LEAST}


if __name__ == "__main__":
    with exit_on_user_error():
        main()
