"""Systems are compared on equal utterances alone, and a difference is called one only where it is shown."""

import json
import re

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.evaluation.comparison import ALL, compare, several_speakers
from lobes.evaluation.score_tables import read_scores, read_speakers, read_systems
from lobes.reports import differences as report


def write(path, gain=0.0, seed=0, ids=60, **columns):
    rng = np.random.default_rng(0)
    easy, noise = rng.normal(5, 2, ids), np.random.default_rng(seed + 1).normal(0, 0.3, ids)
    names = ["id", "speaker", "variant", "si_sdr", "si_sdr_in", "wer", *columns]
    rows = [
        [
            f"u{n}",
            f"s{n % 12}",
            "SE" if n % 2 else "R",
            easy[n] + gain + noise[n],
            easy[n] - 3,
            0.3 - gain / 10 + noise[n] / 9,
        ]
        + [values[n] for values in columns.values()]
        for n in range(ids)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n")
    return str(path)


def test_the_better_system_is_named_in_each_measure_and_lower_is_better_for_errors(tmp_path):
    systems = read_systems([write(tmp_path / "a.csv", 1.0, 1), write(tmp_path / "b.csv", 0.0, 2)])
    found = {one.measure: one for one in compare(systems) if one.condition == ALL}
    assert list(found) == ["si_sdr", "wer"]  # the input's level is no measure
    assert found["si_sdr"].better == found["wer"].better == "a"
    assert found["si_sdr"].estimate.mean == pytest.approx(1.0, abs=0.15) and found["wer"].estimate.mean < 0
    assert found["si_sdr"].wins > 0.9 and found["wer"].wins > 0.9 and found["wer"].speakers == 12


def test_a_share_of_speech_is_neither_better_nor_worse(tmp_path):
    shares = [[0.3 + gain + n / 1000 for n in range(60)] for gain in (0.0, 0.3)]
    places = [write(tmp_path / f"{n}.csv", speech_activity=x, wer_words=x) for n, x in enumerate(shares)]
    systems = read_systems(places)
    assert {one.measure for one in compare(systems)} == {"si_sdr", "wer"}
    (found,) = (one for one in compare(systems, ["speech_activity"]) if one.condition == ALL)
    assert found.estimate.high < 0 and found.better == ""


def test_equal_systems_show_no_difference(tmp_path):
    systems = read_systems([write(tmp_path / "a.csv", seed=1), write(tmp_path / "b.csv", seed=2)])
    overall = [one for one in compare(systems) if one.condition == ALL]
    assert all(one.better == "" for one in overall)
    assert report.NOTHING in report.as_page(overall, True)


def test_many_questions_raise_p_for_each(tmp_path):
    places = [
        write(tmp_path / f"{name}.csv", gain, seed)
        for seed, (name, gain) in enumerate([("a", 0.05), ("b", 0), ("c", 0)])
    ]
    overall = [one for one in compare(read_systems(places)) if one.condition == ALL]
    assert len(overall) == 6 and all(one.p_all >= one.estimate.p for one in overall)
    assert max(one.p_all / one.estimate.p for one in overall) > 1.5


def test_conditions_are_the_columns_of_words_and_quarters_of_the_input(tmp_path):
    systems = read_systems([write(tmp_path / "a.csv", 1.0, 1), write(tmp_path / "b.csv", 0.0, 2)])
    names = [one.condition for one in compare(systems, ["wer"])]
    assert names[:3] == [ALL, "variant R", "variant SE"] and len(names) == 7
    assert names[3].startswith("input below ") and names[-1].endswith("dB and above")
    parts = [one for one in compare(systems, ["wer"]) if one.condition.startswith("input")]
    assert sum(one.n for one in parts) == 60


def test_other_utterances_are_refused_and_named(tmp_path):
    write(tmp_path / "a.csv", ids=60)
    write(tmp_path / "b.csv", ids=57)
    with pytest.raises(UserError, match=r"3 of .*a\.csv are not in .*b\.csv: u57, u58, u59\."):
        read_systems([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])


def test_an_utterance_without_a_number_is_left_out_and_counted(tmp_path):
    pesq = ["" if n == 3 else 1.0 + n / 60 for n in range(60)]
    more = [1.5 + n / 60 if n != 5 else "nan" for n in range(60)]
    systems = read_systems([write(tmp_path / "a.csv", pesq=more), write(tmp_path / "b.csv", pesq=pesq)])
    found = compare(systems, ["pesq"])[0]
    assert (found.n, found.left_out) == (58, 2) and found.estimate.mean == pytest.approx(0.5)
    assert "| 58 of 60 |" in report.as_table([found])


def test_trainings_of_one_system_are_pooled(tmp_path):
    ours = [write(tmp_path / f"a{seed}.csv", gain, seed) for seed, gain in enumerate((0.0, 1.2, 0.6))]
    theirs = [write(tmp_path / f"b{seed}.csv", gain, seed + 5) for seed, gain in enumerate((0.5, -0.4, 0.1))]
    pooled = compare(read_systems([f"a={','.join(ours)}", f"b={','.join(theirs)}"]), ["si_sdr"])[0]
    assert (pooled.first, pooled.second, pooled.better) == ("a", "b", "")  # trainings differ as much as systems
    assert pooled.estimate.mean == pytest.approx(0.53, abs=0.15)
    assert pooled.estimate.high - pooled.estimate.low > 1.0


def test_gains_stand_for_the_scores_that_they_belong_to(tmp_path):
    sdri = ["" if n < 4 else 1.0 for n in range(60)]
    systems = read_systems([write(tmp_path / "a.csv", si_sdri=sdri), write(tmp_path / "b.csv", si_sdri=sdri)])
    assert {one.measure for one in compare(systems)} == {"si_sdri", "wer"}
    assert compare(systems, ["si_sdr"])[0].n == 60


def test_groups_count_equally(tmp_path):
    variant = ["C" if n < 6 else "SE" for n in range(60)]
    score = [1.0 if n < 6 else 0.0 for n in range(60)]
    a, b = write(tmp_path / "a.csv", kind=variant, score=score), write(tmp_path / "b.csv", kind=variant, score=[0] * 60)
    assert compare(read_systems([a, b]), ["score"], group_by="kind")[0].estimate.mean == pytest.approx(0.5)
    assert compare(read_systems([a, b]), ["score"])[0].estimate.mean == pytest.approx(0.1)
    with pytest.raises(UserError, match="no column knid. Did you mean 'kind'"):
        compare(read_systems([a, b]), ["score"], group_by="knid")


def test_speakers_of_another_table(tmp_path):
    write(tmp_path / "a.csv")
    table = read_scores(tmp_path / "a.csv")
    (tmp_path / "speakers.csv").write_text(
        "ID,speaker1,speaker2\n" + "".join(f"u{n},x{n % 5},y{n % 3}\n" for n in range(60))
    )
    assert read_speakers(tmp_path / "speakers.csv", table)["u4"] == ("x4", "y1")
    (tmp_path / "few.csv").write_text("ID,speaker\nu1,x\n")
    with pytest.raises(UserError, match="no row for 59 of 60 utterances"):
        read_speakers(tmp_path / "few.csv", table)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "no column of IDs"),
        ("id,word\na,x\n", "no column of numbers"),
        ("id,n\na,1\na,2\n", "occur more than once"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(tmp_path, text, problem):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=problem):
        read_scores(tmp_path / "t.csv")


def test_a_folder_without_scores_one_system_and_equal_names_are_refused(tmp_path):
    with pytest.raises(UserError, match="neither a tested run nor an evaluation"):
        read_scores(tmp_path)
    a = write(tmp_path / "a.csv")
    with pytest.raises(UserError, match="at least two systems"):
        read_systems([a])
    with pytest.raises(UserError, match="both named"):
        read_systems([a, a])
    with pytest.raises(UserError, match="expected NAME=PLACE"):
        read_systems([a, "b="])


def test_the_page_the_picture_and_the_numbers_agree(tmp_path):
    systems = read_systems([write(tmp_path / "a.csv", 1.0, 1), write(tmp_path / "b<c.csv", 0.0, 2)])
    found = compare(systems)
    page = report.as_page(found, True)
    report.write(tmp_path / "out", page, found)
    assert "- wer, a and b<c: a is better" in page and "By condition" in page
    picture = (tmp_path / "out" / "comparison.svg").read_text()
    assert "a - b&lt;c, variant SE</text>" in picture and picture == report.as_picture(
        found, "differences with their intervals"
    )
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert len(numbers) == len(found) and numbers[0]["better"] == "a" and numbers[-1]["p_all"] is None


def test_groups_count_equally_where_one_of_them_lacks_numbers(tmp_path):
    kind = ["A" if n < 30 else "B" for n in range(60)]
    score = [("" if n % 3 else 1.0) if n < 30 else 0.0 for n in range(60)]
    a, b = write(tmp_path / "a.csv", kind=kind, score=score), write(tmp_path / "b.csv", kind=kind, score=[0] * 60)
    found = compare(read_systems([a, b]), ["score"], group_by="kind")[0]
    assert found.n == 40 and found.estimate.mean == pytest.approx(0.5)


def test_one_speaker_and_unknown_ones_are_not_called_speakers(tmp_path):
    systems = read_systems([write(tmp_path / "a.csv", 1.0, 1), write(tmp_path / "b.csv", 0.0, 2)])
    for speakers, count in (({}, "-"), ({f"u{n}": ("anna",) for n in range(60)}, "1")):
        found = compare(systems, ["wer"], speakers)[:1]
        assert report.cells(found[0])[8] == count and not several_speakers(speakers)
        assert "by a bootstrap of utterances" in report.as_page(found, several_speakers(speakers))


def test_nobody_wins_where_neither_is_better(tmp_path):
    places = [write(tmp_path / f"{n}.csv", speech_activity=[n / 9] * 60) for n in range(2)]
    found = compare(read_systems(places), ["speech_activity"])[0]
    assert np.isnan(found.wins) and report.cells(found)[6] == "-"


def test_the_page_says_which_way_unknown_measures_were_taken(tmp_path):
    places = [write(tmp_path / f"{n}.csv", loudness=[n] * 60, drift_error=[n] * 60) for n in range(2)]
    found = compare(read_systems(places))
    assert "By their names alone, better is higher in loudness and lower in drift_error." in report.as_page(found, True)
    assert "names alone" not in report.as_page(compare(read_systems(places), ["wer"]), True)


def test_many_pairs_with_long_names_stay_inside_the_picture(tmp_path):
    names = [f"a_system_with_a_name_that_does_not_end_{n}_and_more_of_the_same" for n in range(7)]
    condition = ["a very long condition that nobody should have to read here" if n % 2 else "short" for n in range(60)]
    places = [write(tmp_path / f"{name}.csv", 0.0, n, kind=condition) for n, name in enumerate(names)]
    found = compare(read_systems(places), ["wer", "si_sdr"])
    svg = report.as_picture(found, "title")
    width = float(re.search(r'viewBox="0 0 (\S+)', svg).group(1))
    rows = re.findall(r'<text style="[^"]*text-anchor: end[^"]*" x="(\S+)" y="\S+"[^>]*>([^<]+)</text>', svg)
    assert len(rows) >= 21 and all(len(text) <= 140 for _, text in rows)
    assert min(float(x) - 8 * 0.56 * len(text) for x, text in rows if " - " in text) > 0  # 0.56 em: a wide mean letter
    left = [float(x) for x in re.findall(r'<path d="M (\S+) \S+ \nL (\S+) ', svg)[0]]
    assert max(left) <= width


@pytest.mark.parametrize("steps", [(0.1, 0.3), (0.7, 0.1), (2.2, 4.2)])
def test_a_difference_that_is_the_same_everywhere_can_be_drawn(tmp_path, steps):
    places = [write(tmp_path / f"{n}.csv", loudness=[step] * 60) for n, step in enumerate(steps)]
    found = compare(read_systems(places), ["loudness"])
    assert all(one.estimate.low <= one.estimate.mean <= one.estimate.high for one in found)
    assert "loudness" in report.as_picture(found, "title")
