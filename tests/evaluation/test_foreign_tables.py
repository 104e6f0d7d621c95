"""Tables of other tools are compared as they are meant, or refused in one line: never the wrong way round."""

import logging

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.evaluation.comparison import ALL, compare
from lobes.evaluation.score_tables import read_scores, read_speakers, read_systems, together

IDS = [f"u{number:02d}" for number in range(40)]


def write(path, separator=",", **columns):
    """A table of 40 utterances: columns are lists of cells, or one cell for all."""
    cells = {name: value if isinstance(value, list) else [value] * len(IDS) for name, value in columns.items()}
    lines = [["ID", *columns], *([ID, *(cells[name][row] for name in columns)] for row, ID in enumerate(IDS))]
    path.write_text("\n".join(separator.join(map(str, line)) for line in lines) + "\n", encoding="utf-8")
    return str(path)


def scores(low, high, seed=0):
    return [round(float(one), 3) for one in np.random.default_rng(seed).uniform(low, high, len(IDS))]


def overall(*places, **options):
    return {one.measure: one for one in compare(read_systems(places), **options) if one.condition == ALL}


@pytest.mark.parametrize(
    "name", ["WER", "Wer", "wer_whisper", "WER (%)", "CER", "LSD", "mcd", "word error rate", "loss"]
)
def test_the_system_with_fewer_errors_is_better_whatever_the_tool_calls_them(tmp_path, name):
    good, bad = (
        write(tmp_path / "good.csv", **{name: scores(0, 1)}),
        write(tmp_path / "bad.csv", **{name: scores(2, 3)}),
    )
    (found,) = overall(good, bad).values()
    assert found.estimate.mean < 0 and found.better == "good" and found.wins == pytest.approx(1)


@pytest.mark.parametrize("name", ["PESQ", "SI-SDR", "signal_distortion_ratio", "WER reduction", "NISQA"])
def test_the_system_with_the_higher_score_is_better_in_other_measures(tmp_path, name):
    good, bad = (
        write(tmp_path / "good.csv", **{name: scores(2, 3)}),
        write(tmp_path / "bad.csv", **{name: scores(0, 1)}),
    )
    (found,) = overall(good, bad).values()
    assert found.better == "good"


def test_names_in_capitals_and_ours_are_one_measure(tmp_path):
    ours = write(tmp_path / "ours.csv", pesq=scores(2, 3), si_sdr=scores(1, 2))
    theirs = write(tmp_path / "theirs.csv", PESQ=scores(1, 2), **{"SI-SDR": scores(1, 2), "SNR": 5})
    assert list(overall(ours, theirs)) == ["pesq", "si_sdr"]
    assert list(overall(ours, theirs, measures=["PESQ"])) == ["pesq"]
    both = read_scores(write(tmp_path / "both.csv", WER=0.5, wer=0.25))
    assert list(both.numbers) == ["WER", "wer"]


def test_a_column_that_is_no_measure_is_none(tmp_path):
    table = read_scores(write(tmp_path / "pandas.csv", **{"Unnamed: 0": list(range(40)), "pesq": 2.5}))
    assert list(table.numbers) == ["pesq"]


def test_per_cent_and_signs_for_nothing_are_read(tmp_path):
    wer = ["12.5 %", "NA", "#N/A", "7%", *[""] * 36]
    numbers = read_scores(write(tmp_path / "t.csv", wer=wer)).numbers["wer"]
    assert [numbers[ID] for ID in IDS[:4]] == pytest.approx([0.125, np.nan, np.nan, 0.07], nan_ok=True)


def test_a_decimal_comma_is_read_where_the_column_or_another_one_shows_it(tmp_path):
    comma = [f"{value:.3f}".replace(".", ",") for value in scores(1, 4)]
    table = read_scores(write(tmp_path / "t.tsv", "\t", pesq=comma, stoi=["0,91"] * 40))
    assert max(table.numbers["pesq"].values()) < 4
    assert max(read_scores(write(tmp_path / "s.csv", ";", pesq=comma)).numbers["pesq"].values()) < 4
    with pytest.raises(UserError, match=r"pesq of u00 is '\d,\d{3}', which may be a fraction or thousands"):
        read_scores(write(tmp_path / "doubtful.tsv", "\t", pesq=comma, room="hall"))


def test_a_word_among_numbers_is_a_mistake_and_no_reason_to_leave_the_measure_out(tmp_path, caplog):
    cells = [*map(str, scores(0, 1)[:-1]), "timeout"]
    with pytest.raises(UserError, match="wer of u39 is 'timeout', which is no number"):
        read_scores(write(tmp_path / "t.csv", wer=cells, pesq=2.5))
    with caplog.at_level(logging.WARNING):
        table = read_scores(write(tmp_path / "other.csv", theirs=cells, pesq=2.5, room=["1", "hall"] * 20))
    assert list(table.numbers) == ["pesq"] and set(table.words) == {"theirs", "room"}
    (warning,) = caplog.messages
    assert "theirs of u39 is 'timeout'" in warning


def test_shares_and_per_cent_are_not_compared(tmp_path):
    share, percent = scores(0, 1), [round(100 * one, 1) for one in scores(0, 1)]
    a, b = write(tmp_path / "a.csv", wer=share, pesq=2.5), write(tmp_path / "b.csv", WER=percent, pesq=2.5)
    with pytest.raises(UserError, match=r"wer seems to be in per cent in .*b\.csv and a share in .*a\.csv"):
        read_systems([a, b])
    many_errors = write(
        tmp_path / "c.csv", wer=[0.0] * 30 + [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 12.0, 30.0, 2.0], pesq=2
    )
    assert overall(a, many_errors)["wer"].better == ""  # a recogniser that repeats itself writes no per cent


def test_speakers_conditions_and_groups_may_stand_in_any_table(tmp_path):
    who, room = [f"p{row % 5}" for row in range(40)], ["hall" if row % 4 else "car" for row in range(40)]
    plain = write(tmp_path / "theirs.csv", pesq=scores(2, 3))
    ours = write(tmp_path / "ours.csv", pesq=scores(1, 2, 1), speaker=who, room=room)
    for pair in ((plain, ours), (ours, plain)):
        found = compare(read_systems(pair), group_by="room")
        assert found[0].speakers == 5 and {one.condition for one in found[1:]} == {"room car", "room hall"}
    tables = [system.tables[0] for system in read_systems([plain, ours])]
    assert read_speakers(None, together(tables))["u06"] == ("p1",)


def test_names_of_speakers_may_have_blanks(tmp_path):
    who = [f"speaker {row % 8}" for row in range(40)]
    assert read_speakers(None, read_scores(write(tmp_path / "t.csv", pesq=2.5, speaker=who)))["u09"] == ("speaker 1",)
    two = [f"anna {row % 3} + jan" for row in range(40)]
    assert read_speakers(None, read_scores(write(tmp_path / "t.csv", pesq=2, speakers=two)))["u00"] == ("anna 0", "jan")


def test_a_training_counts_once(tmp_path):
    a, b = (write(tmp_path / f"{name}.csv", pesq=scores(2, 3, seed)) for seed, name in enumerate("ab"))
    with pytest.raises(UserError, match="a place is given twice"):
        read_systems([f"x={a},{a}", b])
    comma = write(tmp_path / "a,b.csv", pesq=2.5)
    assert [len(system.tables) for system in read_systems([f"x={comma}", f"y={a},{b}"])] == [1, 2]


def test_the_folder_of_several_systems_names_those_in_it(tmp_path):
    for name in ("ours", "noisy"):
        (tmp_path / "out" / name).mkdir(parents=True)
        write(tmp_path / "out" / name / "per_utterance.csv", pesq=2.5)
    with pytest.raises(UserError, match=r"nor an evaluation of one system\. Give folders in it: noisy, ours\."):
        read_scores(tmp_path / "out")
