#!/usr/bin/env python3
"""How fast does each preset separate a recording, and how much memory does it take, by length?

> python benchmarks/inference.py [--presets spmamba_small] [--seconds 1 10 60] [--threads 1 2] [--before CHECKOUT]

Each figure comes from a fresh process: it loads the preset with random weights, separates a short mixture, so that all
code is compiled, and then one of each length as files are separated, in chunks where it is long. The real-time factor
is seconds of work over seconds of audio; memory is the highest of the process, and that over what it held before. With
--before another checkout takes turns with this one. A stopped run goes on with what its output lacks.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from _common import RESULTS, ROOT, about, result_file, rows_so_far, save, write
from tqdm import tqdm

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.measuring import measured
from lobes.models import list_models

CASE = ("preset", "threads", "seconds", "version")


def main() -> None:
    """Measure in fresh processes what the output lacks, print, write the JSON file."""
    options = parse()
    checkouts = {"now": ROOT, **({"before": options.before.resolve()} if options.before else {})}
    where = about()
    rows = rows_so_far(options.output, where)
    done = {tuple(row[key] for key in CASE) for row in rows}
    cases = list(product(options.presets or list_models(), options.threads, options.seconds, checkouts))
    for preset, threads, seconds, version in tqdm([case for case in cases if case not in done], unit="measurement"):
        row = fresh(checkouts[version], preset, seconds, threads)
        tqdm.write(f"{preset:32}{version:7}{seconds:6g} s {threads} threads  {in_words(row)}")
        rows.append({"version": version, **row})
        save({**where, "rows": rows}, options.output)
    write({**where, "rows": rows}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--presets", nargs="+", help="default: all")
    add("--seconds", nargs="+", type=arguments.positive, default=[1.0, 10.0, 60.0])
    add("--threads", nargs="+", type=arguments.count, default=[1, 2])
    add("--before", type=Path, help="a checkout of an earlier version")
    add("--output", type=result_file, default=RESULTS / "inference.json")
    return parser.parse_args()


def in_words(row: dict[str, Any]) -> str:
    """A row's figures, or why there are none."""
    if "failed" in row:
        return row["failed"]
    factors = f"real-time factor {row['rtf']:.3f} (CPU {row['cpu_rtf']:.3f})"
    return f"{factors}, {row['peak_mb']:.0f} MB, {row['over_mb']:.0f} over"


def fresh(root: Path, preset: str, seconds: float, threads: int) -> dict[str, Any]:
    """The figures of one preset, from a process of its own that imports a checkout."""
    facts = {"seconds": seconds, "threads": threads}
    return {"preset": preset, **facts, **measured({"model": preset, **facts}, [str(root)])}


if __name__ == "__main__":
    with exit_on_user_error():
        main()
