"""The parts of an evaluation's page: groups by the input's level, verdicts, pictures, looks."""

import re

import numpy as np
import pytest

from lobes.evaluation.clusters import Estimate
from lobes.evaluation.comparison import ALL, PairedDifference, compare
from lobes.evaluation.intervals import MeasureMeans
from lobes.evaluation.score_tables import ScoreTable, System
from lobes.reports.looks import MARKS, looks_of
from lobes.reports.page_answer import Verdicts
from lobes.reports.page_figures import distributions_svg, gains_svg
from lobes.reports.page_scores import Scores


def test_groups_of_like_input_levels_are_equally_large_and_sorted(make_system):
    level = np.random.default_rng(0).uniform(-5, 15, 50)
    scores = Scores([make_system("a", 1.0, 50, si_sdr_in=level)], [], None)
    groups = scores.bins()
    assert len(groups) == 6 and sorted(row for rows in groups for row in rows) == list(range(50))
    assert {len(rows) for rows in groups} == {8, 9}
    ends = [(level[rows].min(), level[rows].max()) for rows in groups]
    assert all(before[1] <= after[0] for before, after in zip(ends, ends[1:], strict=False))


@pytest.mark.parametrize("level", [np.full(24, 5.0), np.full(24, np.nan), np.r_[np.arange(9.0), np.full(15, np.nan)]])
def test_a_level_that_is_unknown_or_always_the_same_gives_no_groups(make_system, level):
    assert Scores([make_system("a", 1.0, si_sdr_in=level)], [], None).bins() == []


def test_a_gain_is_above_zero_where_it_is_good(make_system):
    scores = Scores([make_system("a", 3.0)], [], None)
    assert scores.reference == "untouched input" and scores.models == ["a"]
    assert scores.mean_gain("a", "si_sdri").mean == pytest.approx(3.0, abs=0.3)
    assert scores.mean_gain("a", "wer").mean == pytest.approx(0.03, abs=0.003)
    assert scores.mean_gain("a", "si_sdr").mean == pytest.approx(scores.mean("a", "si_sdri").mean)


def test_the_level_goes_by_the_verdict_on_its_gain_and_conditions_give_none(make_system):
    def pair(condition, mean):
        found = Estimate(mean, mean - 0.1, mean + 0.1, 0.001)
        return PairedDifference("a", "b", "si_sdri", condition, 24, 0, 6, found, found.p, 0.5, 0.95)

    systems = [make_system("a", 2.0), make_system("b", 1.0)]
    found = Verdicts(Scores(systems, [pair(ALL, 1.0)], None), [pair(ALL, 1.0), pair("variant SE", -1.0)])
    assert found.marks("si_sdr") == found.marks("si_sdri") == {"a": "best"}
    assert found.marks("wer") == {} and found.rivals("a", "si_sdr") == ["b"]


@pytest.mark.filterwarnings("error")
def test_violins_survive_few_equal_and_missing_values():
    scores = {"none": np.full(3, np.nan), "one": np.array([1.0]), "equal": np.full(40, 2.0), "many": np.arange(40.0)}
    svg = distributions_svg(scores, looks_of(list(scores), None), "PESQ $x$", "a")
    assert all(f">{text}</text>" in svg for text in (*scores, "PESQ $x$")) and "nan" not in svg.lower()
    assert svg.count("fill-opacity: 0.3") == 1  # a density only where there is one


@pytest.mark.filterwarnings("error")
def test_long_intervals_are_cut_and_means_without_one_are_drawn():
    points = [(0.0, Estimate(1.0, -500.0, 500.0, 1.0)), (5.0, Estimate(2.0, np.nan, np.nan, np.nan))]
    lost = (9.0, Estimate(np.nan, np.nan, np.nan, np.nan))
    svg = gains_svg({"a": [*points, lost], "b": [lost]}, looks_of(["a", "b"], None), "dB", "gain", "g")
    height = float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg).group(1))
    places = [float(y) for y in re.findall(r"[ML] \S+ (\S+) ", svg)]
    assert all(-height <= y <= height for y in places) and "nan" not in svg.lower()
    assert "var(--s1)" not in svg


def test_no_two_of_many_systems_look_alike_and_the_input_like_none():
    labels = [f"s{n}" for n in range(42)]
    looks = looks_of(["noisy", *labels], "noisy")
    assert len({(look.marker, look.color) for look in looks.values()}) == 43
    assert looks["noisy"].marker not in MARKS


def test_means_are_over_utterances_that_every_system_has():
    ids = [f"u{n}" for n in range(4)]
    full = ScoreTable("a", {"pesq": dict(zip(ids, [1.0, 2.0, 3.0, 10.0], strict=True))}, {}, ids)
    short = ScoreTable("b", {"pesq": dict(zip(ids, [1.0, 1.0, 1.0, np.nan], strict=True))}, {}, ids)
    systems = [System("a", [full]), System("b", [short])]
    assert Scores(systems, [], None).mean("a", "pesq").mean == 2.0
    assert Scores(systems, [], None).common("pesq") == [0, 1, 2]
    given = MeasureMeans("pesq", 3, 1, {"a": Estimate(7.0, 6.0, 8.0, 0.0)})
    assert Scores(systems, [], None, [given]).mean("a", "pesq").mean == 7.0


def test_the_best_mean_is_that_of_utterances_that_all_systems_have(make_system):
    """A system that has no number for the hard utterances is not the best one by that."""
    hard = np.r_[np.full(12, np.nan), np.linspace(5, 15, 12)]
    systems = [make_system("picky", 1.0, si_sdr=hard), make_system("whole", 2.0, seed=1)]
    found = compare(systems, ["si_sdr"])
    verdicts = Verdicts(Scores(systems, found, None), found)
    assert found[0].better == "whole" and verdicts.leader("si_sdr") == "whole"
    assert verdicts.marks("si_sdr") == {"whole": "best"}


def test_a_system_that_another_one_beats_is_not_called_the_best(make_system):
    """Means may be ordered another way than paired differences, such as rates of all words."""

    def pair():
        found = Estimate(1.0, 0.9, 1.1, 0.001)
        return PairedDifference("a", "b", "pesq", ALL, 24, 0, 6, found, found.p, 0.5, 0.95)

    systems = [make_system("a", 1.0, pesq=np.full(24, 2.0)), make_system("b", 1.0, pesq=np.full(24, 2.5))]
    means = [MeasureMeans("pesq", 24, 0, {"a": Estimate(2.0, 1.9, 2.1, 0.0), "b": Estimate(2.5, 2.4, 2.6, 0.0)})]
    found = Verdicts(Scores(systems, [pair()], None, means), [pair()])
    assert found.leader("pesq") == "a" and found.marks("pesq") == {"a": "best"}
