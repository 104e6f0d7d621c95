"""Every table says of each utterance in which bin it lies, and no bin is ever a measure."""

import numpy as np
import pytest

from lobes.evaluation.comparison import conditions
from lobes.evaluation.conditions import bin_of, in_order, overlap, signal_conditions
from lobes.evaluation.score_tables import ScoreTable, read_scores
from lobes.runs.table import write_per_utterance

RNG = np.random.default_rng(0)
CLEAN = RNG.standard_normal((16000, 1))


def noisy(db):
    noise = RNG.standard_normal(16000)
    return CLEAN[:, 0] + noise * np.linalg.norm(CLEAN) / np.linalg.norm(noise) * 10 ** (-db / 20)


@pytest.mark.parametrize("db, label", [(-12, "below -10 dB"), (2.5, "0 to 5 dB"), (17.5, "15 to 20 dB")])
def test_the_level_of_the_input_and_the_length(db, label):
    assert signal_conditions(noisy(db), CLEAN, 8000) == {"input_snr": label, "duration": "2 to 3 s"}


@pytest.mark.parametrize(
    "row, label",
    [
        ({"snr": "2.5"}, "0 to 5 dB"), ({"SNR": "-7,5 dB"}, "-10 to -5 dB"), ({"input_snr_db": 20}, "20 dB and above"),
        ({"snr": "loud"}, "10 to 15 dB"), ({"snr": ""}, "10 to 15 dB"), ({"SSR": "2.5"}, "10 to 15 dB"),
    ],
)  # fmt: skip
def test_a_number_of_the_manifest_counts_before_the_signals(row, label):
    assert signal_conditions(noisy(12), CLEAN, 8000, row)["input_snr"] == label


def test_signals_without_a_level_have_none():
    broken = CLEAN.copy()
    broken[3] = np.nan
    for mix, targets in ((CLEAN[:, 0], 0 * CLEAN), (0 * CLEAN[:, 0], CLEAN), (CLEAN[:, 0], broken)):
        assert "input_snr" not in signal_conditions(mix, targets, 8000)


def test_overlap_is_the_share_of_the_time_with_two_sources():
    sources = RNG.standard_normal((16000, 3))
    sources[4000:, 1] *= 1e-3  # 60 dB down is silence
    sources[:12000, 2] = 0
    assert overlap(sources, 8000) == pytest.approx(0.5, abs=0.01)
    assert signal_conditions(sources.sum(1), sources, 8000)["overlap"] == "40 to 60 %"
    assert overlap(0 * sources, 8000) == 0 and overlap(sources[:3], 8000) == 1


def test_bins_come_in_their_order_and_words_behind_them():
    edges = (-10, 0, 5, 10)
    labels = [bin_of(value, edges, "dB") for value in (-11, -10, 0, 7, 10)]
    assert in_order(["SER", *reversed(labels), "C"]) == [*labels, "C", "SER"]


def test_the_comparison_knows_the_conditions_and_takes_no_number_for_a_measure(tmp_path):
    """A condition that happens to be a number stands before the numbers of the table, and so is none of them."""
    rows = [
        {"id": f"u{n:02}", "take": str(n % 2), "speaker": str(n % 5), "input_snr": bin_of(n, (5, 10), "dB"),
         "duration": "1 to 2 s", "si_sdr": float(n), "si_sdr_in": n / 2, "status": "ok"}
        for n in range(40)
    ]  # fmt: skip
    write_per_utterance(tmp_path / "per_utterance.csv", rows)
    table = read_scores(tmp_path)
    assert set(table.numbers) == {"si_sdr", "si_sdr_in"}
    names = [name for name, _ in conditions(table)]
    bins = ["input_snr below 5 dB", "input_snr 5 to 10 dB", "input_snr 10 dB and above"]
    assert names == ["take 0", "take 1", *bins], "no quarters of the same input besides"


def test_without_bins_there_are_quarters():
    levels = {f"u{n}": float(n) for n in range(40)}
    table = ScoreTable("t", {"si_sdr_in": levels}, {"input_snr": dict.fromkeys(levels, "0 to 5 dB")}, list(levels))
    assert len(list(conditions(table))) == 4
