#!/usr/bin/env python3
"""Compile the Triton scan for GPUs that need not be there, and count what a step costs: no kernel is run.

> python scripts/kernel_table.py --output benchmarks/results/kernel_table.json

For each kernel, number of states and GPU: registers, bytes of stack, and for one warp (32 channels) in a step, with
what the backward pass computes again: instructions, shuffles (exchanges between lanes), and those of special functions
(exponentials, reciprocals). `join` is counted by segments. The kernels are compiled as `lobes/scan/cuda` calls them in
training: float32 rows, D, z, softplus and a bias. `add_up`, which sums what programs leave, has no steps and is left
out.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ.pop("TRITON_INTERPRET", None)  # it must be unset before Triton is imported

import torch
import triton
from sass import main_loop, resources
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lobes.data.arguments import Parser
from lobes.scan.cuda import launch, passes, plan
from lobes.scan.inputs import ScanInputs

ARCHITECTURES = (80, 90, 120)  # A100, H100, RTX 5090
STATES = (8, 16, 32, 64)
SHAPE = (4, 500, 256)  # so few items that sequences are cut into segments
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int64: "*i64"}
OF_COMPILER = ("num_warps", "maxnreg")  # options that are no arguments of a kernel
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def main() -> None:
    """Print the table, and write it as JSON if asked."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="write the rows as JSON, too")
    parser.add_argument("--states", type=int, nargs="+", default=STATES, help="numbers of states N")
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES, help="compute capabilities x 10")
    options = parser.parse_args()
    rows = []
    print("| kernel | N | sm | registers | stack | instructions | shuffles | exp2, 1/x |\n|---|" + "--:|" * 7)
    for states in options.states:
        for architecture in options.architectures:
            for call in recorded(example(states)):
                if call[0] == "add_up":
                    continue
                rows.append(measured(call, states, architecture))
                print("| " + " | ".join(str(value) for value in rows[-1].values()) + " |", flush=True)
    if options.output:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from benchmarks._common import about

        result = {**about(triton=triton.__version__), "shape": SHAPE, "rows": rows}
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def recorded(x: ScanInputs) -> list[Call]:
    """The calls of kernels in a forward and a backward pass over `x`, one of each kind; nothing is run."""
    calls: dict[str, Call] = {}

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getitem__(self, grid: tuple[int]) -> Any:
            return self

        def __call__(self, *arguments: Any, **options: Any) -> None:
            name = self.name + " back" * options.get("BACK", False)
            calls.setdefault(name, (self.name, arguments, options))

    true_kernels = dict(launch.kernels())
    launch.kernels().update((name, Recorder(name)) for name in true_kernels)
    try:
        _, _, saved = passes.forward(x, save=True, want_last=False)
        passes.backward(x, saved, torch.empty_like(x.u), None)
    finally:
        launch.kernels().update(true_kernels)
    return list(calls.values())


def example(states: int) -> ScanInputs:
    """Inputs as a layer has them in training, with B and C that are read in place."""
    batch, steps, channels = SHAPE
    rows, A, vector = torch.empty(SHAPE), torch.empty(channels, states), torch.empty(channels)
    B, C = torch.empty(batch, steps, 2 * states).chunk(2, dim=2)
    return ScanInputs(rows, rows, A, B, C, vector, rows, vector, None, None, True, False)


def measured(call: Call, states: int, architecture: int) -> dict[str, Any]:
    """One row of the table."""
    name, _, options = call
    cubin = compiled(call, architecture)
    loop, groups = main_loop(cubin), len(plan.groups_of(states))
    turn = options.get("T", options.get("LOOK"))  # steps, or segments
    again = (options["CHUNK"] - turn) / (2 * turn) if name == "backward" else 0  # steps from a saved state, on average

    def each(operation: str) -> float:
        inner = max((count(inside, operation) for inside in loop.inside), default=0)
        return round(groups * (count(loop.operations, operation) / turn + again * inner), 1)

    kind = name + " back" * options.get("BACK", False)
    counts = {"instructions": each(""), "shuffles": each("SHFL"), "special": each("MUFU")}
    return {"kernel": kind, "states": states, "sm": architecture, **resources(cubin)._asdict(), **counts}


def count(names: list[str], operation: str) -> int:
    """How many instructions are `operation`; all, if it is empty."""
    return len(names) if not operation else names.count(operation)


def compiled(call: Call, architecture: int) -> bytes:
    """The machine code of a kernel for the arguments of a call, specialised as Triton does at a launch."""
    name, arguments, options = call
    kernel = launch.kernels()[name]
    given = dict(zip(kernel.arg_names, arguments, strict=False))
    fixed = {
        **{k: v for k, v in options.items() if k not in OF_COMPILER},
        **{k: None for k, v in given.items() if v is None},
    }
    signature, aligned = {}, {}
    for i, argument in enumerate(kernel.arg_names):
        if argument in fixed:
            signature[argument] = "constexpr"
            continue
        value = given[argument]
        pointer = isinstance(value, torch.Tensor)
        signature[argument] = POINTERS[value.dtype] if pointer else "i32"
        free = argument in kernel.do_not_specialize
        if (value.data_ptr() if pointer else value) % 16 == 0 and not free:
            aligned[(i,)] = [["tt.divisibility", 16]]
    constants = {(kernel.arg_names.index(k),): v for k, v in fixed.items()}
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget("cuda", architecture, 32)
    of_compiler = {name: options[name] for name in OF_COMPILER if name in options}
    return triton.compile(source, target=target, options=of_compiler).asm["cubin"]


if __name__ == "__main__":
    main()
