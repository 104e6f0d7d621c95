"""A model on another data set's manifest: sources, rates and lengths are checked, the table is written."""

import json

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.manifest import write_manifest
from lobes.errors import UserError
from lobes.evaluation.manifest import evaluate
from lobes.runs.table import read_per_utterance


@pytest.fixture
def data(tmp_path):
    """Two items of two sources at 16 kHz, with a variant each."""
    rng, rows = np.random.default_rng(0), []
    for name, variant in (("b", "SE"), ("a", "SER")):
        sources = 0.1 * rng.standard_normal((2, 4000))
        for part, samples in (("mix", sources.sum(0)), ("s1", sources[0]), ("s2", sources[1])):
            audio.write(tmp_path / "data" / part / f"{name}.wav", samples, 16000)
        paths = {f"{part}_wav": f"$data_root/{part}/{name}.wav" for part in ("mix", "s1", "s2")}
        rows.append({"ID": name, "duration": 0.25, **paths, "variant": variant})
    write_manifest(tmp_path / "test.csv", rows)
    return tmp_path


def halves(mix):
    return np.stack([mix, mix], 1)


def run(data, separate=halves, num_sources=2, rate=16000, **options):
    where = (data / "test.csv", data / "out", data / "data")
    return evaluate(separate, num_sources, rate, *where, metrics=("si_sdr",), workers=0, **options)


def test_table_summary_and_audio(data):
    summary = run(data, audio_items=1)
    assert summary == json.loads((data / "out" / "summary.json").read_text()) and summary["n"] == 2
    rows = read_per_utterance(data / "out" / "per_utterance.csv")
    assert [row["id"] for row in rows] == ["a", "b"] and "variant" not in rows[0] and "groups" not in summary
    assert all(row["si_sdri"] == pytest.approx(0, abs=1e-4) for row in rows)
    assert (data / "out" / "audio" / "a" / "s2_hat.wav").is_file()


def test_a_column_groups_the_means(data):
    summary = run(data, group_by="variant")
    assert summary["grouped_by"] == "variant" and list(summary["groups"]) == ["SE", "SER"]
    rows = read_per_utterance(data / "out" / "per_utterance.csv")
    assert [(row["id"], row["variant"]) for row in rows] == [("a", "SER"), ("b", "SE")]
    with pytest.raises(UserError, match="no column varient. Did you mean 'variant'?"):
        run(data, group_by="varient")


def test_a_measure_of_your_own_has_a_column(data, monkeypatch):
    (data / "my_scores.py").write_text(
        "def peak(estimate, target, rate):\n    return float(abs(estimate).max() * rate)\n"
    )
    monkeypatch.syspath_prepend(data)
    where = (data / "test.csv", data / "out", data / "data")
    summary = evaluate(halves, 2, 16000, *where, metrics=("si_sdr", "my_scores:peak"), workers=0)
    assert summary["mean"]["peak"] > 100
    assert read_per_utterance(data / "out" / "per_utterance.csv")[0]["peak"] > 100


def test_another_rate_is_resampled_to_the_models(data):
    lengths = []
    run(data, lambda mix: lengths.append(len(mix)) or halves(mix), rate=8000)
    assert lengths == [2000, 2000]


def test_another_number_of_sources_is_refused(data):
    with pytest.raises(UserError, match=r"has 2 source\(s\) \(s1_wav, s2_wav\), the model gives 1"):
        run(data, num_sources=1)


def test_a_source_of_another_length_names_the_item(data):
    audio.write(data / "data" / "s2" / "b.wav", np.zeros(99), 16000)
    with pytest.raises(UserError, match="b: the mixture has 4000 samples, one of its sources 99"):
        run(data)
