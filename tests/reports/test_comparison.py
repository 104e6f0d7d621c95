"""The numbers of a comparison: means over seeds, intervals over utterances, costs, a picture."""

import re

import numpy as np
import pytest

from lobes.evaluation.clusters import Clusters, estimate
from lobes.reports import comparison
from lobes.runs.record import Outcome


def outcome(gains, steps=10, speakers=None):
    facts = {"steps": steps, "seconds": 5.0, "parameters": 7, "peak_megabytes": 100.0 + steps}
    pesq = {"pesq": 1.5}
    rows = [{"id": name, "variant": "SER", "si_sdri": gain, **pesq, "pesq_in": gain} for name, gain in gains.items()]
    for row in rows if speakers else ():
        row["speaker"] = speakers[row["id"]]
    return Outcome({}, facts, [], rows)


def test_utterances_are_means_over_seeds_and_need_all_of_them():
    outcomes = [outcome({"x": 1.0, "y": 3.0, "z": np.nan}), outcome({"x": 2.0, "y": 5.0, "z": 9.0}, 20)]
    model = comparison.compared_model("a", outcomes, gmacs=0.5, rtf=0.25)
    assert model.gains.tolist() == [1.5, 4.0] and model.by_seed == [2.0, 3.5]
    assert (model.parameters, model.steps, model.peak_megabytes) == (7, 15, 120.0)
    assert model.seconds_per_step == pytest.approx((0.5 + 0.25) / 2)
    assert (model.gmacs, model.rtf) == (0.5, 0.25)


def test_quality_is_that_of_input_and_output_on_the_same_utterances():
    outcomes = [outcome({"x": 1.0, "y": 3.0, "z": np.nan}), outcome({"x": 1.0, "y": 3.0, "z": 9.0})]
    quality = comparison.compared_model("a", outcomes, gmacs=0.5, rtf=0.25).quality
    assert quality["pesq"] == comparison.Quality(input=2.0, output=1.5, up=0.5)
    assert np.isnan(quality["stoi"].output)


def test_the_interval_is_over_speakers_and_seeds():
    values = np.random.default_rng(3).standard_normal(40)
    gains = {f"u{n}": value for n, value in enumerate(values)}
    other = {name: gain + 1 for name, gain in gains.items()}
    speakers = {name: f"p{n // 10}" for n, name in enumerate(gains)}
    speakers["u0"] = "p0+p1"
    known = comparison.compared_model("a", [outcome(gains, speakers=speakers)], 0.5, 0.25)
    unknown = comparison.compared_model("a", [outcome(gains)], 0.5, 0.25)
    seeds = comparison.compared_model("a", [outcome(gains), outcome(other)], 0.5, 0.25)
    assert known.speakers[0] == ("p0", "p1") and len({*unknown.speakers}) == 40
    order = [gains[name] for name in sorted(gains)]
    clusters = Clusters([tuple(speakers[name].split("+")) for name in sorted(gains)])
    assert known.interval == tuple(estimate(np.array(order), clusters)[:3])
    width, of_known, of_seeds = (model.interval[2] - model.interval[1] for model in (unknown, known, seeds))
    assert of_seeds > 3 * width and of_known > width


@pytest.fixture
def models():
    return [
        comparison.compared_model(name, [outcome({"x": low, "y": low + 1})], gmacs, rtf=0.0125)
        for name, low, gmacs in (("a", 1, 0.2), ("b$1$", 4, 0.8))
    ]


def test_the_table_starts_with_the_best_and_shows_every_number(models):
    lines = comparison.as_table(models).splitlines()
    assert lines[2].startswith("| mixture as it is | 0.00 |  | - |  | 4.50 |  |")
    costs = "7 | 0.80 | 0.013 | 0.500 | 10 | 110 |"
    mean, low, high = models[1].interval
    assert mean == 4.5 and low < 4 and high > 5
    assert lines[3] == f"| b$1$ | 4.50 [{low:.2f}, {high:.2f}] | 4.50 | - | - | 1.50 | 0 % | - | - | {costs}"
    assert lines[4].startswith("| a | 1.50 ")


def test_the_picture_has_names_as_text_plain_numbers_and_the_same_bytes_each_time(models):
    svg = comparison.as_picture(models, "real_es, 4 min")
    found = re.findall(r"<text.*?</text>", svg, flags=re.DOTALL)
    texts = {re.sub(r"<[^>]*>|\n *", "", text) for text in found}
    assert {"a", "b$1$", "real_es, 4 min", "GMAC for one second of audio", "0.3", "0.4"} <= texts
    assert svg.startswith("<?xml") and svg == comparison.as_picture(models, "real_es, 4 min")


def test_the_picture_has_a_point_and_an_interval_for_each_model(models):
    svg = comparison.as_picture(models, "a")
    for color in ("#1f77b4", "#ff7f0e"):  # matplotlib's first two
        marks = re.findall(rf'<use [^>]*x="(\S+)" y="(\S+)" style="[^"]*stroke: {color}', svg)
        assert len(marks) == 3 and len({x for x, _ in marks}) == 1  # two ends and the mean between them
        low, mean, high = sorted(float(y) for _, y in marks)
        assert mean == pytest.approx((low + high) / 2, abs=0.01) and high > low + 10


@pytest.mark.parametrize(
    "gmacs, low", [((0.2, 0.8, 3.2, 12.8), 1), ((1.0,) * 14, 0), ((1.0,) * 4, 1), ((1e-3, 1e3, 1e3, 1e3), 1)]
)
def test_names_stay_inside_and_lie_on_no_other_name_and_seeds_are_shown(gmacs, low):
    from matplotlib.collections import PathCollection

    from lobes.reports.figures import new_figure

    names = [f"a network whose name is much too long for a picture, number {n}" for n in range(len(gmacs))]
    compared = [
        comparison.compared_model(
            name, [outcome({"x": n, "y": n + 1}), outcome({"x": n + 2 * low, "y": n + 2 * low + 1})], macs, 0.01
        )
        for name, macs, n in zip(names, gmacs, [low * number for number in range(len(gmacs))], strict=True)
    ]
    compared += [comparison.compared_model("far below", [outcome({"x": -20, "y": -19})] * 2, gmacs[0], 0.01)]
    with new_figure(7, 4.5) as figure:
        comparison.draw(figure, compared, "a")
        figure.draw_without_rendering()
        axes = figure.axes[0]
        boxes = [text.get_window_extent() for text in axes.texts]
        inside = axes.get_window_extent()
        assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
        assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in boxes)
        assert not any(one.overlaps(two) for n, one in enumerate(boxes) for two in boxes[:n])
        seeds = [found.get_offsets() for found in axes.collections if isinstance(found, PathCollection)]
        assert [dots[:, 1].tolist() for dots in seeds] == [list(model.by_seed) for model in compared]


def test_a_comparison_by_another_measure_is_of_output_minus_mixture():
    runs = [outcome({"x": 1.0, "y": 3.0}), outcome({"x": 1.0, "y": 3.5})]
    model = comparison.compared_model("a", runs, gmacs=0.5, rtf=0.25, measure="pesq")
    assert model.gains.tolist() == [0.5, -1.75] and model.by_seed == [-0.5, -0.75]
    lines = comparison.as_table([model]).splitlines()
    assert lines[0].startswith("| model | PESQ gain [95 %] | by seed | SI-SDR |")
    assert lines[3].startswith("| a | -0.62 [") and "| -0.50 / -0.75 |" in lines[3]
    assert comparison.units("pesq").startswith("PESQ gain, output minus mixture: mean over the test utterances")
    assert "PESQ gain, 95 % over speakers and seeds;" in comparison.as_picture([model], "a")


def test_an_utterance_without_a_number_of_the_input_does_not_count():
    run = outcome({"x": 1.0, "y": 3.0})
    del run.utterances[0]["pesq_in"]
    assert comparison.gains_of(run, "pesq") == {"y": -1.5}
    assert comparison.gains_of(run, "si_sdri") == {"x": 1.0, "y": 3.0}
