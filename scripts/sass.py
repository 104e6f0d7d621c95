"""Read what ptxas made of a kernel: registers, stack, and the instructions of its loops. No GPU is needed.

Triton brings NVIDIA's `cuobjdump` and `nvdisasm` along.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import triton

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class Resources(NamedTuple):
    """What one thread of a kernel takes."""

    registers: int
    stack: int  # bytes: spilled registers


class Loop(NamedTuple):
    """The instructions of a loop that do not belong to a loop inside it, by name without modifiers."""

    operations: list[str]
    inside: list[list[str]]  # the loops inside


def resources(cubin: bytes) -> Resources:
    """Registers and stack of the only kernel in a compiled file."""
    text = _run("cuobjdump", cubin, "-res-usage")
    found = re.findall(r"REG:(\d+) STACK:(\d+)", text)
    return Resources(*map(int, found[0]))


def main_loop(cubin: bytes) -> Loop:
    """The longest loop of the only kernel in a compiled file."""
    operations, loops = disassembled(_run("nvdisasm", cubin, "-c"))
    first, last = max(loops, key=lambda loop: loop[1] - loop[0])
    inner = [(a, b) for a, b in loops if a > first and b <= last]
    own = [name for i, name in enumerate(operations[first:last], first) if not any(a <= i < b for a, b in inner)]
    return Loop(own, [operations[a:b] for a, b in inner])


def disassembled(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The operations of a listing, and from where to where its loops go: each ends with a branch back to its start.

    Example
    -------
    >>> listing = '''
    ...  .section .text.scan,"ax"
    ... .L_x_1:
    ...         /*0010*/  @P0 FADD R1, R2, R3 ;
    ...         /*0020*/  SHFL.BFLY PT, R1, R1, 0x1, 0x1f ;
    ...         /*0030*/  @P0 BRA `(.L_x_1) ;
    ... '''
    >>> disassembled(listing)
    (['FADD', 'SHFL', 'BRA'], [(0, 3)])
    """
    operations: list[str] = []
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    for line in text.splitlines():
        if label := re.match(r"(\.L\S+):", line):
            labels[label[1]] = len(operations)
        if not (found := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(\S+?)(?:\.\S+)?\s(.*)", line)):
            continue
        operations.append(found[1].rstrip(";"))
        target = re.search(r"`\((\.L\S+?)\)", found[2])
        if found[1] == "BRA" and target and target[1] in labels and labels[target[1]] < len(operations) - 1:
            ends[labels[target[1]]] = len(operations)
    return operations, sorted(ends.items())


def _run(tool: str, cubin: bytes, option: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([TOOLS / tool, option, file.name], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
