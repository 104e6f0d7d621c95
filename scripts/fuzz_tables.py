"""Fuzz target: manifests and other tables, of which every row and cell is read, or the table is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fuzz_changes import STRANGE, Rng, change_bytes, change_text

from lobes.data import audio
from lobes.data.manifest import read_manifest
from lobes.evaluation.manifest import open_manifest

ROWS = 6
HEADER = "ID,duration,mix_wav,s1_wav,s2_wav,speaker1\n"
HUGE = (*STRANGE, "x" * 200_000)  # csv's own limit is 131,072 characters


class Case(NamedTuple):
    """A changed table."""

    data: bytes
    what: str
    by: str  # who reads it: a training or `lobes evaluate`


class Target:
    """A manifest with a letter, a word, a line or some bytes changed, read as a training and as `lobes evaluate` do."""

    name = "tables"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("m", "a", "b"):
            audio.write(folder / f"{name}.wav", np.zeros(800, np.float32), 8000)
        rows = [f"item_{n},0.1,$data_root/m.wav,$data_root/a.wav,$data_root/b.wav,żółw {n}\n" for n in range(ROWS)]
        self.text = HEADER + "".join(rows)

    def change(self, rng: Rng) -> Case:
        """One table, changed by letters or by bytes."""
        by = str(rng.choice(["training", "evaluation"]))
        if rng.random() < 0.3:
            data = self.text.encode(str(rng.choice(["utf-8", "utf-16", "cp1250"])))
            return Case(*change_bytes(rng, data, range(len(data))), by)
        text, what = change_text(rng, self.text, HUGE)
        return Case(text.encode("utf-8", "surrogatepass"), what[:100], by)

    def write(self, case: Case, folder: Path) -> Path:
        """Put the table into a folder."""
        path = folder / "test.csv"
        path.write_bytes(case.data)
        return path

    def run(self, case: Case) -> str:
        """Read the table: what is wrong with the result, or nothing."""
        path = self.write(case, self.folder)
        if case.by == "training":
            rows = read_manifest(path, self.folder)
        else:
            rows = open_manifest(path, self.folder).rows
        return judge(case.data, rows)

    def command(self, case: Case) -> list[str]:
        """`lobes evaluate` with it: that reads the table before it looks for the model."""
        data = ["--data", str(self.write(case, self.folder)), "--data-root", str(self.folder)]
        return ["lobes", "evaluate", "no-such-model", *data, "-o", str(self.folder / "out")]


def judge(data: bytes, rows: list[dict[str, str]]) -> str:
    """What was lost of a table in UTF-8, by a reader that knows commas only; nothing where that cannot read it."""
    try:
        text = data.decode("utf-8").lstrip("\ufeff")
        plain = [line for line in csv.reader(io.StringIO(text), strict=True) if any(map(str.strip, line))]
    except (UnicodeDecodeError, csv.Error):
        return ""
    if not plain or {len(line) for line in plain} != {len(plain[0])}:
        return ""
    header, *lines = plain
    wanted = [line for line in lines if line != header]
    if len(wanted) != len(rows):
        return f"{len(rows)} of {len(wanted)} rows were read"
    for line, row in zip(wanted, rows, strict=True):
        for column, cell in zip(header, line, strict=True):
            if column in ("ID", "speaker1") and row.get(column) != cell.strip().strip("\ufeff\u200b").strip():
                return f"{column}: {row.get(column)!r} instead of {cell!r}"
    return ""
