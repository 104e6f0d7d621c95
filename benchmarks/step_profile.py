#!/usr/bin/env python3
"""Where does the time of a training step go? Shares of PyTorch's operators, in one preset's step on the CPU.

> python benchmarks/step_profile.py [--preset spmamba_small] [--seconds 1] [--threads 1]

The shares are of the operators' own time, without what they call, over some steps after a first one; small ones are
left out. Matrix products are those of linear layers, attention and LSTMs; the scan is forward and backward.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import torch
from _common import RESULTS, about, result_file, write
from torch.profiler import ProfilerActivity, profile
from training import COMPARED, training_step

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.models import list_models
from lobes.training.memory import keep_freed_memory

KINDS = {  # words in the names of operators
    "scan": ("selective_scan",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "rnn"),
    "convolutions": ("convolution", "conv_silu"),
}
LEAST = 1.0  # per cent, of an operator that is named


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--preset", choices=list_models(), default=COMPARED)
    add("--seconds", type=arguments.positive, default=1.0, help="of audio")
    add("--threads", type=arguments.count, default=1)
    add("--steps", type=arguments.count, default=3)
    add("--output", type=result_file, default=RESULTS / "step_profile.json")
    options = parser.parse_args()
    times = operator_times(options)
    whole = sum(times.values())
    shares = {name: round(100 * value / whole, 1) for name, value in times.most_common()}
    kinds = by_kind(shares)
    named = {name: share for name, share in shares.items() if share >= LEAST}
    for title, table in (("by kind", kinds), ("by operator", named)):
        print(f"{title}:")
        print("\n".join(f"  {share:5.1f} %  {name}" for name, share in table.items()))
    facts: dict[str, Any] = {name: getattr(options, name) for name in ("preset", "seconds", "threads", "steps")}
    facts["milliseconds_per_step"] = round(whole / options.steps / 1000, 1)
    write(about(seed=1234, **facts, by_kind=kinds, by_operator=named), options.output)


def operator_times(options: argparse.Namespace) -> Counter[str]:
    """Microseconds of each operator's own work."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    where = {"device": "cpu", "precision": "fp32", "checkpointing": False}
    step = training_step({"preset": options.preset, "seconds": options.seconds, **where})
    step()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        for _ in range(options.steps):
            step()
    return Counter({event.key: event.self_cpu_time_total for event in seen.key_averages()})


def by_kind(shares: dict[str, float]) -> dict[str, float]:
    """Shares of the scan, of matrix products, of convolutions, and of the rest."""
    kinds: Counter[str] = Counter()
    for name, share in shares.items():
        kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "the rest")
        kinds[kind] += share
    return {kind: round(share, 1) for kind, share in kinds.most_common()}


if __name__ == "__main__":
    with exit_on_user_error():
        main()
