"""A number that does not exist is an empty cell: a spreadsheet would take `nan` for text, and 0 for a score."""

import csv
import math

import pytest

from lobes.runs.table import write_per_utterance


@pytest.mark.parametrize("absent", [math.nan, math.inf, None])
def test_what_is_no_number_is_an_empty_cell(tmp_path, absent):
    row = {"id": "a", "variant": "C", "si_sdr": 0.0, "si_sdri": absent, "status": "ok"}
    write_per_utterance(tmp_path / "table.csv", [row])
    with (tmp_path / "table.csv").open(newline="") as file:
        [cells] = csv.DictReader(file)
    assert cells["si_sdr"] == "0.000000" and cells["si_sdri"] == "" and cells["pesq"] == ""
