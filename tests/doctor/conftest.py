"""For the checks of data: manifests of three splits with two sources and noise, all of them right."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.manifest import write_manifest
from lobes.doctor.data import check_data
from lobes.doctor.tables import find_manifests

PARTS = ("s1", "s2", "noise")


class Data:
    """A folder of 6, 3 and 3 mixtures of 800 samples, which tests spoil."""

    def __init__(self, root):
        self.root, rng = root, np.random.default_rng(0)
        for split, items in (("train", 6), ("valid", 3), ("test", 3)):
            rows = []
            for number in range(items):
                ID, parts = f"{split}{number}", {part: 0.1 * rng.standard_normal(800) for part in PARTS}
                for part, samples in {"mix": sum(parts.values()), **parts}.items():
                    audio.write(self.path(ID, part), samples, 8000)
                paths = {f"{part}_wav": f"$data_root/{part}/{ID}.wav" for part in ("mix", *PARTS)}
                speakers = {"speaker1": f"{split}_a", "speaker2": f"{split}_b"}
                rows.append({"ID": ID, "duration": 0.1, **paths, **speakers})
            write_manifest(root / f"{split}.csv", rows)

    def path(self, ID, part):
        return self.root / part / f"{ID}.wav"

    def samples(self, ID, part, change):
        """Change the samples of a file."""
        path = self.path(ID, part)
        audio.write(path, change(audio.read_mono(path)), 8000)

    def cell(self, ID, column, value):
        """Change a cell of a manifest."""
        path = self.root / f"{ID.rstrip('0123456789')}.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        next(row for row in rows if row["ID"] == ID)[column] = value
        self.write(path.stem, rows)

    def write(self, split, rows):
        with (self.root / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def findings(self, **options):
        """What is not ok: (level, what, text)."""
        return [tuple(f) for f in check_data(find_manifests(self.root), **options) if f.level != "ok"]


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path / "data")
