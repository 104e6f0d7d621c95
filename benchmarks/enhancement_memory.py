#!/usr/bin/env python3
"""How much memory does a training step of the enhancement models take, and what saves how much?

> python benchmarks/enhancement_memory.py [--presets bs_bimamba_abl1 ...] [--batch 6] [--seconds 2] [--device cpu]

Rows: fp32; bf16 (autocast); gradient checkpointing; both; and the scan's chunk, the steps between two states that are
kept (backend `torch`, where it can be changed). The last two rows are one layer of ablation 1, and the same with the
scan as a plain loop that keeps every state, as in the published code. `saved` is what the forward pass keeps for the
backward pass, parameters left out; `peak` is the most memory over the start of the step (of the process; on a GPU of
its tensors). Every row comes from a fresh process. The JSON file has all rows, the Markdown file a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from _common import MEGABYTE, RESULTS, about, known_device, result_file, timed, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.measuring import peak, start_peak
from lobes.models import get_model, list_models
from lobes.models.base import contract
from lobes.scan import torch_blocked

PRESETS = ("bs_bimamba_abl1", "bs_bimamba_abl2", "bs_bimamba_abl3", "mbs_net")
# What earlier documents of this recipe claimed that each measure saves, in per cent of the memory.
CLAIMS = {"bf16": "40", "checkpointing": "50-60", "both": "70-80"}
CHUNKS = (16, 32, 64)
SEED = 1234


def main() -> None:
    """Measure row by row, print, write the JSON file; or, as a process of its own, print one row."""
    options = parse()
    if options.child:
        print(json.dumps(measure(json.loads(options.child))))
        return
    rows: list[dict[str, Any]] = []
    for case in cases(options):
        row = {**case, **fresh(case)}
        plain = next((r for r in rows if (r["preset"], r["layers"]) == (row["preset"], row["layers"])), row)
        for name in ("saved", "peak"):
            row[f"{name}_less_percent"] = round(100 * (1 - row[f"{name}_megabytes"] / plain[f"{name}_megabytes"]), 1)
        rows.append(row)
        print(line(row), flush=True)
    where = about(device=options.device, batch=options.batch, seconds=options.seconds, seed=SEED)
    result = {**where, "claimed_less_percent": CLAIMS, "rows": rows}
    write(result, options.output)
    options.output.with_suffix(".md").write_text(table(result), encoding="utf-8")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--presets", nargs="+", choices=list_models(), default=list(PRESETS))
    add("--batch", type=arguments.count, default=6)
    add("--seconds", type=arguments.positive, default=2.0, help="of audio")
    add("--device", type=known_device, default="cpu")
    add("--output", type=result_file, default=RESULTS / "enhancement_memory.json")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows of the table."""
    same = {"batch": options.batch, "seconds": options.seconds, "device": options.device, "layers": None}
    for preset in options.presets:
        for kind, half, checkpointing in (
            ("fp32", False, False),
            ("bf16", True, False),
            ("checkpointing", False, True),
            ("both", True, True),
        ):
            yield {"preset": preset, "kind": kind, "half": half, "checkpointing": checkpointing, **same}
        for chunk in CHUNKS:
            yield {"preset": preset, "kind": f"chunk {chunk}", "chunk": chunk, **same}
    one = {**same, "preset": "bs_bimamba_abl1", "layers": 1}
    yield {"kind": "one layer", **one}
    yield {"kind": "one layer, every state", "backend": "reference", **one}


def fresh(case: dict[str, Any]) -> dict[str, Any]:
    """One row from a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps(case)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MEGABYTE)}  # freed tensors leave the process at once
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{case}: {done.stderr.strip().splitlines()[-1] if done.stderr else 'killed: out of memory?'}")
    return json.loads(done.stdout.splitlines()[-1])


def line(row: dict[str, Any]) -> str:
    """A row for the screen."""
    claim = CLAIMS.get(row["kind"])
    less = f"{row['saved_less_percent']:6.1f} % less saved, {row['peak_less_percent']:6.1f} % less at the peak"
    sizes = f"{row['saved_megabytes']:8.0f} MB saved {row['peak_megabytes']:8.0f} MB peak"
    return f"{row['preset']:17}{row['kind']:24}{sizes} {row['wall']:7.1f} s {less}" + (f" ({claim})" if claim else "")


def table(result: dict[str, Any]) -> str:
    """A column for each preset, a line for each measure: GB saved / at the peak, and how much less than plain fp32."""
    cells: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        plain = row["kind"] in ("fp32", "one layer")
        less = "" if plain else f" ({row['saved_less_percent']:.0f} / {row['peak_less_percent']:.0f} %)"
        sizes = f"{row['saved_megabytes'] / 1024:.2f} / {row['peak_megabytes'] / 1024:.2f} GB"
        cells.setdefault(row["kind"], {})[row["preset"]] = sizes + less
    presets = list(dict.fromkeys(row["preset"] for row in result["rows"]))
    lines = [
        f"Written by `{result['command']}`, commit {result['commit']}; seed {result['seed']}; {result['machine']}.\n",
        "| | " + " | ".join(presets) + " | claimed |",
        "|---|" + "---:|" * (len(presets) + 1),
    ]
    for kind, found in cells.items():
        claim = f"{CLAIMS[kind]} %" if kind in CLAIMS else ""
        lines.append(f"| {kind} | " + " | ".join(found.get(preset, "") for preset in presets) + f" | {claim} |")
    return "\n".join(lines) + "\n"


def measure(case: dict[str, Any]) -> dict[str, float]:
    """Saved and highest memory of a step in MB, and its seconds."""
    if "chunk" in case:
        torch_blocked.BLOCK = case["chunk"]
        os.environ["LOBES_SCAN_BACKEND"] = "torch"
    if "backend" in case:
        os.environ["LOBES_SCAN_BACKEND"] = case["backend"]
    torch.manual_seed(SEED)
    overrides = {"gradient_checkpointing": case.get("checkpointing", False)}
    overrides.update({"n_layers": case["layers"]} if case["layers"] else {})
    device, half = case["device"], case.get("half", False)
    model = get_model(case["preset"], **overrides).to(device)
    run(model, torch.randn(1, 4000, device=device), half)  # loads and compiles everything
    before = start_peak(device)
    saved: dict[str, float] = {}
    mix = torch.randn(case["batch"], int(case["seconds"] * 16000), device=device)
    wall = timed(lambda: saved.update(bytes=run(model, mix, half)), device)["wall"]
    sizes = {"saved": saved["bytes"], "peak": peak(device) - before}
    return {**{f"{k}_megabytes": round(v / MEGABYTE, 1) for k, v in sizes.items()}, "wall": round(wall, 2)}


def run(model: torch.nn.Module, mix: torch.Tensor, half: bool) -> int:
    """A step without the optimizer; returns the bytes that the forward pass kept."""
    precision = torch.autocast(mix.device.type, dtype=torch.bfloat16) if half else nullcontext()
    with counted(model) as kept:
        with precision:
            made = model(mix, details=True)
        loss = made.estimates.square().mean() + made.spectra.square().mean()
    size = sum(kept.values())
    loss.backward()
    model.zero_grad(set_to_none=True)
    return size


@contextmanager
def counted(model: torch.nn.Module) -> Iterator[dict[int, int]]:
    """Collect the storages that autograd saves, and the inputs that checkpointing keeps: address -> bytes."""
    kept: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    plain = contract.checkpoint

    def checkpoint(layer: Any, x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        return plain(layer, keep(x), *rest, **options)

    contract.checkpoint = checkpoint
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            yield kept
    finally:
        contract.checkpoint = plain


if __name__ == "__main__":
    with exit_on_user_error():
        main()
