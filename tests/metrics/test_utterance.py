"""Scores of one utterance: true numbers in the best order, and a status for everything else."""

import math
import subprocess
import sys

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.metrics import METRICS, NUMBERS, measures, score
from lobes.metrics.utterance import EXTRA, check_metrics

RATE = 8000


def all_nan(row):
    return all(math.isnan(row[name]) for name in NUMBERS)


@pytest.mark.parametrize("sources", [1, 2])
def test_values_are_the_means_over_the_sources(scene, sources):
    estimates, targets, mix = scene(sources)
    row = score(estimates[:, ::-1], targets, mix, RATE)
    assert row["status"] == "ok" and list(row) == [*NUMBERS, "status"]
    for name in METRICS:
        rate = () if name in ("si_sdr", "sdr") else (RATE,)
        values = [getattr(measures, name)(estimates[:, s], targets[:, s], *rate) for s in range(sources)]
        assert row[name] == pytest.approx(np.mean(values))
    before = np.mean([measures.si_sdr(mix, targets[:, s]) for s in range(sources)])
    assert row["si_sdri"] == pytest.approx(row["si_sdr"] - before) and row["si_sdri"] > 3
    before = np.mean([measures.sdr(mix, targets[:, s]) for s in range(sources)])
    assert row["sdri"] == pytest.approx(row["sdr"] - before)


def test_the_mixture_as_estimate_improves_nothing(scene):
    _, targets, mix = scene()
    row = score(np.stack([mix, mix], 1), targets, mix, RATE, metrics=("si_sdr", "sdr"))
    assert row["si_sdri"] == 0 and row["sdri"] == 0
    assert math.isnan(row["pesq"]) and math.isnan(row["stoi"]) and row["status"] == "ok"


@pytest.mark.parametrize("sources", [3, 5])
def test_any_number_of_sources_in_any_order(scene, sources):
    estimates, targets, mix = scene(sources)
    order = np.random.default_rng(0).permutation(sources)
    shuffled = score(estimates[:, order], targets, mix, RATE, metrics=("si_sdr",))
    assert shuffled["si_sdr"] == pytest.approx(score(estimates, targets, mix, RATE)["si_sdr"])


@pytest.mark.parametrize("rate, best", [(8000, 4.5486), (16000, 4.6439)])
def test_clean_against_clean_is_perfect(voice, rate, best):
    target = voice(2.0, rate=rate)[:, None]
    row = score(target, target, target[:, 0], rate, metrics=[*METRICS, "composite", "ssnr"], improvement=False)
    assert row["status"] == "ok"
    assert row["pesq"] == pytest.approx(best, abs=1e-3) and row["stoi"] == pytest.approx(1, abs=1e-6)
    composites = {name: row[name] for name in EXTRA["composite"]}
    assert composites == dict.fromkeys(EXTRA["composite"], 5.0)
    assert row["ssnr"] == 35.0


def test_variant_c_has_no_improvement_and_is_no_failure(scene):
    estimates, targets, _ = scene(1)
    row = score(estimates, targets, targets[:, 0], RATE, improvement=False)
    assert math.isnan(row["si_sdri"]) and math.isnan(row["sdri"])
    assert row["status"] == "ok" and row["si_sdr"] > 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["estimate", "target", "mixture"])
def test_non_finite_signals(scene, bad, where):
    signals = dict(zip(("estimate", "target", "mixture"), scene(), strict=True))
    if where == "mixture":
        signals[where][100:] = bad
    else:
        signals[where][100:, 1] = bad
    row = score(signals["estimate"], signals["target"], signals["mixture"], RATE)
    source = 1 if where == "mixture" else 2
    assert all_nan(row) and row["status"] == f"non-finite {where} (first at sample 100, source {source})"


@pytest.mark.parametrize("silence", [lambda x: 0 * x, lambda x: 0 * x + 0.1, lambda x: 1e-4 * x])
def test_silent_target(scene, silence):
    estimates, targets, mix = scene()
    targets[:, 1] = silence(targets[:, 1])
    row = score(estimates, targets, mix, RATE)
    assert all_nan(row) and row["status"] == "silent target (source 2)"


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_silent_estimate(scene, level):
    estimates, targets, mix = scene()
    estimates[:, 0] = level
    row = score(estimates, targets, mix, RATE)
    assert all_nan(row) and row["status"].startswith("silent estimate")


def test_silent_mixture_takes_only_the_improvements(scene):
    estimates, targets, mix = scene()
    row = score(estimates, targets, 0 * mix, RATE)
    assert row["si_sdr"] > 5 and math.isnan(row["si_sdri"]) and row["status"] == "silent mixture"


@pytest.mark.parametrize("samples", [1, 2, 10, 100, 511, 1000, 1500, 2200, 4000])
def test_any_length_gives_a_status_and_no_false_number(scene, samples):
    estimates, targets, mix = (x[500 : 500 + samples] for x in scene())
    row = score(estimates, targets, mix, RATE)
    if samples < 1024:
        assert math.isnan(row["sdr"])
    if samples < 2000:
        assert math.isnan(row["pesq"]) and math.isnan(row["stoi"])
    assert samples < 2 or math.isfinite(row["si_sdr"])
    assert (row["status"] == "ok") == all(math.isfinite(row[name]) for name in NUMBERS)


def test_short_items_say_why(scene):
    estimates, targets, mix = (x[500:1200] for x in scene())
    expected = (
        "sdr: too short (source 1); sdr: too short (source 2); pesq: BufferTooShort (source 1); "
        "pesq: BufferTooShort (source 2); stoi: too short (source 1); stoi: too short (source 2)"
    )
    row = score(estimates, targets, mix, RATE)
    assert row["status"] == expected and math.isfinite(row["si_sdri"])


def test_pesq_without_speech_is_a_status(scene):
    estimates, targets, mix = scene(1, seconds=2.0)
    targets[:8000] = targets[8400:] = 0  # 50 ms are left
    row = score(estimates, targets, mix, RATE)
    assert math.isnan(row["pesq"]) and "pesq: NoUtterances (source 1)" in row["status"]


def test_whatever_a_library_raises_is_a_status(scene, monkeypatch):
    import pystoi

    def broken(*args, **kwargs):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(pystoi, "stoi", broken)
    estimates, targets, mix = scene(1)
    row = score(estimates, targets, mix, RATE)
    assert row["status"] == "stoi: ZeroDivision (source 1)" and math.isfinite(row["pesq"])


def test_one_failed_source_leaves_no_half_mean(scene, monkeypatch):
    values = iter([2.0, math.nan])
    import pesq

    monkeypatch.setattr(pesq, "pesq", lambda *args, **kwargs: next(values))
    row = score(*scene(), RATE, metrics=("pesq",))
    assert math.isnan(row["pesq"]) and row["status"] == "pesq: not finite (source 2)"


def test_integer_and_fp32_input(scene):
    estimates, targets, mix = scene(1)
    expected = score(estimates, targets, mix, RATE, metrics=("si_sdr",))["si_sdr"]
    single = [x.astype(np.float32) for x in (estimates, targets, mix)]
    assert score(*single, RATE, metrics=("si_sdr",))["si_sdr"] == pytest.approx(expected, abs=1e-4)
    whole = [(30000 * x).astype(np.int16) for x in (estimates, targets, mix)]
    assert score(*whole, RATE, metrics=("si_sdr",))["si_sdr"] == pytest.approx(expected, abs=0.1)


def test_inputs_are_not_written(scene):
    signals = scene()
    copies = [x.copy() for x in signals]
    score(*signals, RATE)
    assert all(np.array_equal(a, b) for a, b in zip(signals, copies, strict=True))


def test_clear_errors(scene):
    estimates, targets, mix = scene()
    for wrong in ((estimates[:-1], targets, mix), (estimates, targets, mix[:-1]), (estimates[:, :1], targets, mix)):
        with pytest.raises(UserError, match="one length"):
            score(*wrong, RATE)
    with pytest.raises(UserError, match="one shape"):
        score(estimates[:, 0], targets[:, 0], mix, RATE)
    with pytest.raises(UserError, match="Did you mean 'pesq'"):
        score(estimates, targets, mix, RATE, metrics=("pesk",))


def test_the_input_has_every_number_that_the_mixture_would_have_as_estimate(scene):
    estimates, targets, mix = scene()
    metrics = ("si_sdr", "sdr", "stoi", "estoi", "ssnr")
    row = score(estimates, targets, mix, RATE, metrics, inputs={})
    alone = score(np.stack([mix, mix], 1), targets, mix, RATE, metrics)
    assert row["status"] == alone["status"] == "ok"
    for name in metrics:
        assert row[f"{name}_in"] == pytest.approx(alone[name]) != pytest.approx(row[name])
    assert row["si_sdri"] == pytest.approx(row["si_sdr"] - row["si_sdr_in"]) and math.isnan(row["pesq_in"])
    assert not [name for name in score(estimates, targets, mix, RATE, ("si_sdr",)) if name.endswith("_in")]


def test_what_is_known_of_the_input_is_not_computed_again(scene):
    estimates, targets, mix = scene(1)
    row = score(estimates, targets, mix, RATE, ("si_sdr", "ssnr"), inputs={"ssnr_in": 99.0})
    assert row["ssnr_in"] == 99.0 and -20 < row["si_sdr_in"] < 20


def test_an_input_that_is_the_target_and_one_that_cannot_be_scored(scene, monkeypatch):
    estimates, targets, mix = scene(1)
    row = score(estimates, targets, targets[:, 0], RATE, ("si_sdr", "ssnr"), improvement=False, inputs={})
    assert math.isnan(row["si_sdr_in"]) and math.isnan(row["ssnr_in"]) and row["status"] == "ok"

    def refuses_the_mixture(estimate, target, rate):
        if np.array_equal(estimate, mix):
            raise measures.MetricError("no")
        return 1.0

    monkeypatch.setattr(measures, "ssnr", refuses_the_mixture)
    row = score(estimates, targets, mix, RATE, ("ssnr",), inputs={})
    assert row["ssnr"] == 1.0 and math.isnan(row["ssnr_in"]) and row["status"] == "input ssnr: no (source 1)"


@pytest.mark.parametrize("rate", [32000, 48000])
def test_at_a_rate_without_pesq_output_and_input_have_the_other_numbers(scene, rate):
    """T2-22"""
    estimates, targets, mix = scene(1)
    row = score(estimates, targets, mix, rate, ("si_sdr", "pesq", "ssnr"), inputs={})
    assert row["status"] == f"pesq: not defined at {rate} Hz (source 1)"
    assert math.isnan(row["pesq_in"]) and math.isfinite(row["ssnr_in"]) and math.isfinite(row["si_sdri"])


def test_two_metrics_never_share_a_column(scene, tmp_path, monkeypatch):
    (tmp_path / "mine_one.py").write_text("def pesq(e, t, r): return 1.0\ndef good(e, t, r): return float('nan')")
    (tmp_path / "mine_two.py").write_text("def good(e, t, r): return 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    for metrics in (["mine_one:pesq"], ["mine_one:good", "mine_two:good"]):
        with pytest.raises(UserError, match="is taken. Rename the function"):
            check_metrics(metrics)
    estimates, targets, mix = scene(1)
    assert score(estimates, targets, mix, RATE, ["mine_one:good"])["status"] == "mine_one:good: not finite (source 1)"


def test_import_is_light():
    code = (
        "import sys, lobes.metrics, lobes.evaluation.scoring;"
        "heavy = {'torch', 'scipy', 'torchmetrics', 'pesq', 'pystoi'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
