#!/usr/bin/env python3
"""Put the constants that part 2 of gpu_day.py has found into lobes/scan/cuda/tuning.py.

> python scripts/gpu_day_constants.py DAY            # show them
> python scripts/gpu_day_constants.py DAY --write    # write them; run the tests of the scan and part 1 again after it

Constants that gave a wrong result, took more memory than allowed or gained less than 3 % are not written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_day_rows import FAILED, PartFile, path_of

from lobes.data import arguments
from lobes.data.files import write_whole
from lobes.errors import UserError, exit_on_user_error
from lobes.scan.cuda import tuning
from lobes.scan.cuda.plan import MOST_STATES
from lobes.scan.cuda.tuning import CHUNKS, TUNED, Tuning

FILE = Path(tuning.__file__)


def main(argv: Sequence[str] | None = None) -> None:
    """Show the constants, and write them if asked."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("day", type=Path, help="folder with part_2.json")
    parser.add_argument("--write", action="store_true", help="into the code")
    parser.add_argument("--file", type=Path, default=FILE, help="default: lobes/scan/cuda/tuning.py")
    options = parser.parse_args(argv)
    row = found(options.day)
    text = with_constants(options.file.read_text(encoding="utf-8"), row["choices"])
    print("\n".join(line for line in text.splitlines() if re.match(r" {4}Tuning\(|CHUNKS", line)))
    print(f"{row['gain']} times as fast as before over all shapes, forward with backward")
    if options.write:
        if not row["keep"]:
            raise UserError(f"{options.day}: these constants are wrong, need too much memory or gain too little.")
        write_whole(options.file, text)
        print(f"written to {options.file.name}")


def found(day: Path) -> dict[str, Any]:
    """The row of part 2 that has the constants; it must come from a GPU."""
    file = PartFile(path_of(day, 2))
    row = file.rows.get("together")
    if row is None or FAILED in row:
        raise UserError(f"{file.path}: no constants in it. Run part 2 of gpu_day.py to its end.")
    if file.content["dry"]:
        raise UserError(f"{file.path}: comes from a dry run on a CPU, which says nothing about a GPU.")
    return row


def with_constants(text: str, choices: Sequence[dict[str, Any]]) -> str:
    """The text of tuning.py with other constants.

    Example
    -------
    >>> text = FILE.read_text(encoding="utf-8")
    >>> with_constants(text, [{"below": None}]).count("Tuning(below=")
    1
    """
    table = "\n".join(["TUNED = (", *(f"    {line(choice)}," for choice in choices), ")  # fmt: skip"])
    chunks = {**CHUNKS, MOST_STATES: choices[-1].get("chunk", CHUNKS[MOST_STATES])}
    text, count = re.subn(r"^TUNED = \(\n.*?^\)  # fmt: skip$", table, text, flags=re.MULTILINE | re.DOTALL)
    text, more = re.subn(r"^CHUNKS = .*$", f"CHUNKS = {chunks}", text, flags=re.MULTILINE)
    if (count, more) != (1, 1):
        raise UserError(f"{FILE.name}: TUNED and CHUNKS are not where they were; put the constants there by hand.")
    return text


def line(choice: dict[str, Any]) -> str:
    """A row of the table as code."""
    known = {name: value for name, value in choice.items() if name in Tuning._fields}
    row = TUNED[-1]._replace(**{**known, "below": choice["below"] or math.inf})
    code = {name: 'float("inf")' if value == math.inf else repr(value) for name, value in row._asdict().items()}
    return f"Tuning({', '.join(f'{name}={value}' for name, value in code.items())})"


if __name__ == "__main__":
    with exit_on_user_error():
        main()
