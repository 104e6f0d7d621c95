"""The tables of finished runs: means that leave out what means nothing, and sections that are replaced in place."""

import math

import pytest

from lobes.reports.tables import (
    HEADER,
    as_markdown,
    as_text,
    group_rows,
    input_row,
    means,
    model_row,
    replace_section,
    short_labels,
    show,
)
from lobes.runs.record import Outcome


def outcome(**variants):
    """An outcome with SI-SDR and SI-SDRi by variant."""
    rows = {name: {"n": 1, "si_sdr": out, "si_sdri": gain, "pesq": None} for name, (out, gain) in variants.items()}
    summary = {"groups": rows, "mean": {}, "improved_share": 0.5}
    return Outcome(summary, {"steps": 10, "seconds": 61.4}, [], [])


def test_means_are_over_the_variants_that_are_given():
    result = outcome(SER=(4.0, 3.0), SE=(6.0, 1.0), C=(30.0, -40.0))
    some, every = means(result.summary, ["SER", "SE", "S"]), means(result.summary, ["SER", "SE", "C"])
    assert (some["si_sdri"], some["si_sdr"], some["si_sdr_in"]) == (2.0, 5.0, 3.0)
    assert every["si_sdri"] == pytest.approx(-12.0)
    assert math.isnan(some["pesq"])


def test_row_fits_the_header_and_missing_numbers_are_dashes():
    row = model_row("m", outcome(SER=(4.0, 3.0), C=(0.0, 9.0)), ["SER"])
    assert len(row) == len(HEADER)
    assert row == ["m", "1.00", "4.00", "3.00", "50 %", "-", *["-"] * 6, "10", "61 s"]


def test_the_input_stands_in_every_measure():
    summary = outcome(SER=(4.0, 3.0)).summary
    summary["groups"]["SER"] |= {"pesq": 1.2, "pesq_in": 1.3, "stoi": 0.7, "stoi_in": 0.8}
    summary["against_input"] = {"pesq": {"improved": 0.25}, "stoi": {"improved": 0.0}}
    one = Outcome(summary, {"steps": 10, "seconds": 61.4}, [], [])
    assert model_row("m", one, ["SER"])[5:12] == ["-", "1.30", "1.20", "25 %", "0.800", "0.700", "0 %"]
    untouched = dict(zip(HEADER, input_row("in", one, ["SER"]), strict=True))
    assert untouched["PESQ in"] == untouched["PESQ out"] == "1.30" and untouched["SI-SDR out"] == "1.00"


def test_labels_are_short_and_different():
    names = [f"{'x' * 40}{number:02d}{'y' * 40}" for number in range(30)] + ["short"]
    labels = short_labels(names)
    assert list(labels) == names and labels["short"] == "short"
    assert len(set(labels.values())) == 31 and max(map(len, labels.values())) <= 24


def test_variants_stand_in_the_given_order_and_gaps_are_dashes():
    outcomes = {"a": outcome(SE=(1.0, 1.0), SER=(2.0, 2.0), C=(3.0, 3.0)), "b": outcome(SE=(1.0, 0.5))}
    header, rows = group_rows(outcomes, ["SER", "SR", "SE"])
    assert header == ["model", "SER", "SE"]
    assert rows == [["a", "2.00", "1.00"], ["b", "-", "0.50"]]


def test_tables_keep_every_cell():
    header, rows = ["model", "dB"], [["a long name", "1.0"], ["b", "-10.0"]]
    lines = as_text(header, rows).splitlines()
    assert [len(line) for line in lines] == [len(lines[0])] * 3
    assert as_markdown(header, rows).splitlines()[2:] == ["| a long name | 1.0 |", "| b | -10.0 |"]


def test_replacing_a_section_leaves_the_rest(tmp_path):
    page = tmp_path / "RESULTS.md"
    page.write_text("# Results\n\n<!-- a:begin -->\nold\n<!-- a:end -->\n\ntail\n")
    replace_section(page, "a", "new\nlines")
    replace_section(page, "b", "other")
    text = page.read_text()
    assert text.startswith("# Results\n\n<!-- a:begin -->\nnew\nlines\n<!-- a:end -->\n\ntail\n")
    assert text.endswith("<!-- b:begin -->\nother\n<!-- b:end -->\n") and "old" not in text
    assert list(tmp_path.iterdir()) == [page]


def test_show_writes_numbers_and_dashes():
    assert [show(1.005, 1), show(-0.5), show(None), show(math.inf)] == ["1.0", "-0.50", "-", "-"]


def test_signs_of_markdown_in_a_cell_do_not_add_columns():
    assert as_markdown(["a|b"], [["x|y\nz"]]).splitlines() == ["| a\\|b |", "|---|", "| x\\|y z |"]
