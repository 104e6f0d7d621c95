#!/usr/bin/env python3
"""What do a step and an epoch cost with more examples, ranks and longer signals, and how fast are examples read?

> python benchmarks/scaling.py [--parts steps reading epoch] [--ranks 1 2] [--examples 32 128] [--seconds 1 4]

Each row comes from a fresh process. `steps` are trainings of the recipe for custom sets, on one thread a rank;
`reading` reads without a network, from files, from shards in place and from shards behind a web server of this machine;
`epoch` reads one epoch of very many examples and counts what is lost or repeated. A stopped run goes on with what its
output lacks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _common import RESULTS, about, result_file, rows_so_far, save, write
from tqdm import tqdm

from lobes.data import arguments
from lobes.errors import exit_on_user_error

CHILD = Path(__file__).with_name("_scaling.py")
FORMS = ("files", "shards", "http")
PARTS = ("steps", "reading", "epoch")


def main() -> None:
    """Measure in fresh processes what the output lacks, print, write the JSON file."""
    options = parse()
    where = about()
    rows = rows_so_far(options.output, where)
    left = [case for case in cases(options) if not any(case.items() <= row.items() for row in rows)]
    for case in tqdm(left, unit="measurement"):
        rows.append({**case, **fresh(**case)})
        tqdm.write(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
        save({**where, "rows": rows}, options.output)
    write({**where, "rows": rows}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--preset", default="spmamba_tiny", help="of the trainings")
    add("--ranks", nargs="+", type=arguments.count, default=[1, 2])
    add("--examples", nargs="+", type=arguments.count, default=[32, 128], help="of the trainings")
    add("--seconds", nargs="+", type=arguments.positive, default=[1.0, 4.0], help="of each example")
    add("--workers", nargs="+", type=arguments.from_zero, default=[0, 1, 2], help="processes that read")
    add("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    add("--read", type=arguments.count, default=400, help="examples that are read")
    add("--epoch", type=arguments.count, default=128_000, help="examples of the large epoch")
    add("--stored", type=arguments.count, default=1000, help="of which so many are stored")
    add("--output", type=result_file, default=RESULTS / "scaling.json")
    return parser.parse_args()


def cases(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is to be measured: the keys that a row begins with."""
    if "steps" in options.parts:
        for examples, seconds, ranks in product(options.examples, options.seconds, options.ranks):
            yield {"kind": "steps", "preset": options.preset, "examples": examples, "seconds": seconds, "ranks": ranks}
    if "reading" in options.parts:
        for form, workers in product(options.forms, options.workers):
            yield {"kind": "reading", "form": form, "workers": workers, "examples": options.read, "seconds": 4.0}
    if "epoch" in options.parts:
        for workers in sorted({min(options.workers), max(options.workers)}):
            yield {"kind": "epoch", "examples": options.epoch, "stored": options.stored, "workers": workers}


def fresh(kind: str, **case: Any) -> dict[str, Any]:
    """The figures of a case, from a process of its own; or why there are none."""
    with TemporaryDirectory(prefix="lobes_scaling_") as folder:
        command = [sys.executable, str(CHILD), kind, json.dumps({"folder": folder, **case})]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    with exit_on_user_error():
        main()
