"""The summary: means over what is finite, everything else counted, and JSON without NaN."""

import json
import math

import pytest

from lobes.evaluation.summary import format_table, summarise
from lobes.metrics import NUMBERS


def row(variant, si_sdr=math.nan, si_sdri=math.nan, status="ok", **numbers):
    return {"id": "x", "variant": variant, "si_sdr": si_sdr, "si_sdri": si_sdri, "status": status, **numbers}


ROWS = [
    row("SER", 10.0, 4.0, pesq=2.0),
    row("SER", 6.0, -2.0, status="pesq: NoUtterances (source 1); pesq: NoUtterances (source 2)"),
    row("SER", status="non-finite estimate (first at sample 17, source 1)"),
    row("S", 20.0, 8.0, pesq=3.0),
    row("C", 30.0),
]


def test_variants_then_their_unweighted_mean():
    summary = summarise(ROWS, by="variant")
    assert summary["n"] == 5 and list(summary["groups"]) == ["C", "S", "SER"]
    ser = summary["groups"]["SER"]
    assert ser["n"] == 3 and ser["counted"]["si_sdr"] == 2 and ser["counted"]["pesq"] == 1
    assert ser["si_sdr"] == 8.0 and ser["si_sdri"] == 1.0 and ser["improved_share"] == 0.5
    assert summary["mean"]["si_sdr"] == pytest.approx((8 + 20 + 30) / 3)
    assert summary["mean"]["pesq"] == 2.5


def test_variant_c_stays_out_of_the_improvement_and_is_named():
    summary = summarise(ROWS, by="variant")
    assert summary["groups"]["C"]["si_sdri"] is None and summary["groups"]["C"]["failures"] == {}
    assert summary["mean"]["si_sdri"] == (1 + 8) / 2
    assert summary["left_out"]["si_sdri"] == ["C"] and "si_sdr" not in summary["left_out"]
    assert summary["improved_share"] == pytest.approx(2 / 3)


def test_output_and_input_are_compared_where_both_have_the_number():
    rows = [
        row("SER", 5.0, 4.0, pesq=2.0, si_sdr_in=1.0, pesq_in=2.5),
        row("SER", 3.0, 2.0, pesq=3.0, si_sdr_in=1.0, pesq_in=2.5),
        row("S", 8.0, 1.0, pesq=math.nan, si_sdr_in=7.0, pesq_in=1.0),
        row("C", 30.0, pesq=4.5, si_sdr_in=math.nan, pesq_in=math.nan),
    ]
    summary = summarise(rows, by="variant")
    assert summary["against_input"] == {
        "si_sdr": {"n": 3, "input": 4.0, "output": 6.0, "improved": 1.0},
        "pesq": {"n": 2, "input": 2.5, "output": 2.5, "improved": 0.5},
    }
    lines = [line.split() for line in format_table(summary).splitlines()]
    assert lines[-3] == ["input", "3", "4.00", "-", "-", "-", "2.50", "-"]
    assert lines[-2] == ["output", "3", "6.00", "-", "-", "-", "2.50", "-"]  # without C, as the input
    assert lines[-1] == ["improved", "100", "%", "-", "-", "-", "50", "%", "-"]


def test_what_leaves_the_input_as_it_is_improves_nothing():
    summary = summarise([row("S", 5.0, 1e-9, si_sdr_in=5.0 - 1e-9)])
    assert summary["improved_share"] == summary["against_input"]["si_sdr"]["improved"] == 0.0


def test_failures_are_counted_per_item_and_reason():
    expected = {"non-finite estimate": 1, "pesq: NoUtterances": 1}
    assert summarise(ROWS)["failures"] == expected
    assert summarise(ROWS, by="variant")["groups"]["SER"]["failures"] == expected


def test_json_has_no_nan():
    text = json.dumps(summarise([*ROWS, row("E", math.inf, math.nan)], by="variant"), allow_nan=False)
    assert json.loads(text)["groups"]["E"]["si_sdr"] is None


@pytest.mark.parametrize("rows", [[], [row("S")], [{"status": "silent target"}]])
def test_nothing_to_average(rows):
    summary = summarise(rows)
    assert all(summary["mean"][name] is None for name in NUMBERS) and summary["improved_share"] is None
    assert "mean" in format_table(summary)


def test_rows_without_a_variant_and_a_generator_of_rows():
    summary = summarise({"si_sdr": float(value), "status": "ok"} for value in range(3))
    assert summary["mean"]["si_sdr"] == 1.0 and "groups" not in summary


def test_table():
    lines = format_table(summarise(ROWS, by="variant")).splitlines()
    headings = ["variant", "n", "SI-SDR", "SI-SDRi", "SDR", "SDRi", "PESQ", "STOI", "improved", "failed"]
    assert lines[0].split() == headings
    assert lines[3].split() == ["SER", "3", "8.00", "1.00", "-", "-", "2.00", "-", "50", "%", "2"]
    assert lines[4].split()[:4] == ["mean", "5", "19.33", "4.50"]
    assert lines[5:] == ["  1 x non-finite estimate", "  1 x pesq: NoUtterances"]


def words(variant, errors, count, before=math.nan, target=0.0):
    numbers = {"wer": errors / count, "wer_errors": errors, "wer_words": count, "wer_target": target / count}
    inputs = {"wer_errors_target": target, "wer_in": before / count, "wer_errors_in": before}
    return row(variant, 1.0, 1.0, **numbers, **inputs)


def test_word_errors_are_summed_and_never_a_mean_of_rates():
    rows = [words("A", 1.0, 1.0, 1.0), words("A", 1.0, 9.0, 4.0, 2.0), words("B", 0.0, 10.0, 3.0), row("B", 1.0, 1.0)]
    for by in (None, "variant"):
        summary = summarise(rows, by)
        assert summary["mean"]["wer"] == 2 / 20 and summary["mean"]["wer_in"] == 8 / 20
        assert summary["mean"]["wer_target"] == 2 / 20 and summary["counted"]["wer"] == 3
        assert summary["wer"] == {"wer_errors": 2, "wer_words": 20, "wer_errors_target": 2, "wer_errors_in": 8}
        assert summary["against_input"]["wer"] == {"n": 3, "input": 0.4, "output": 0.1, "improved": 2 / 3}
        assert not {"wer_errors", "wer_words", "wer_errors_in"} & {*summary["mean"], *summary["against_input"]}
    assert summary["groups"]["A"]["wer"] == 2 / 10 and summary["groups"]["B"]["wer"] == 0


def test_an_output_without_words_counts_in_no_rate_of_its_own():
    lost = {**words("A", math.nan, 10.0, 5.0), "wer": math.nan}
    summary = summarise([words("A", 1.0, 10.0, 2.0), lost])
    assert summary["mean"]["wer"] == 0.1 and summary["mean"]["wer_in"] == 7 / 20
    assert summary["against_input"]["wer"] == {"n": 1, "input": 0.2, "output": 0.1, "improved": 1.0}


def test_lower_is_better_in_distances_and_neither_in_the_share_of_speech():
    numbers = {"lsd": 3.0, "lsd_in": 4.0, "speech_activity": 0.9, "speech_activity_in": 0.1, "snr": 1.0, "snr_in": 2.0}
    found = summarise([row("S", 1.0, 1.0, **numbers)])["against_input"]
    assert [found[name]["improved"] for name in ("lsd", "speech_activity", "snr")] == [1.0, None, 0.0]


def test_other_measures_stand_below_the_table_with_their_input():
    summary = summarise([words("A", 1.0, 10.0, 2.0, 4.0), row("A", 1.0, 1.0, dnsmos_ovrl=3.0, dnsmos_ovrl_in=2.5)])
    lines = format_table({**summary, "recogniser": "pocketsphinx"}).splitlines()
    assert [line.split() for line in lines[-4:-1]] == [
        ["measure", "n", "input", "output", "improved"],
        ["wer", "1", "0.200", "0.100", "100", "%"],
        ["dnsmos_ovrl", "1", "2.500", "3.000", "100", "%"],
    ]
    assert lines[-1] == "  wer of pocketsphinx: 0.400 on the targets themselves, so only for differences"
