"""Scores against the strength of an enhancement: the ends, words, intervals, going on, refusals."""

from __future__ import annotations

import csv
import json
import sys
import types

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.evaluation.score_tables import ScoreTable
from lobes.metrics import utterance

FILES, SPEAKERS, RATE = 6, 3, 16000


@pytest.fixture
def data(tmp_path):
    """Six noisy files of three speakers, as a manifest without texts."""
    rng, rows = np.random.default_rng(0), []
    for number in range(FILES):
        clean = 0.1 * rng.standard_normal(RATE // 2)
        noisy = clean + 0.05 * rng.standard_normal(RATE // 2)
        for kind, samples in (("clean", clean), ("noisy", noisy)):
            audio.write(tmp_path / "set" / f"{kind}{number}.wav", samples, RATE)
        rows.append([f"u{number}", f"$data_root/noisy{number}.wav", f"$data_root/clean{number}.wav", number % SPEAKERS])
    with (tmp_path / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ID", "mix_wav", "s1_wav", "speaker"], *rows])
    return tmp_path


class Halves:
    """Enhances nothing: half of the mixture, in the other polarity for a second training."""

    sample_rate, num_sources, calls = RATE, 1, 0

    def __call__(self, mix):
        type(self).calls += 1
        return 0.5 * mix[None] + 0.1 * mix.roll(1)[None]


def power(samples, rate):
    """A recogniser that hears a word for each level."""
    return f"one two {10 * np.log10(np.square(samples).mean()):.1f}"


@pytest.fixture
def strength(recipe_module, monkeypatch, data):
    """The command with a model and a recogniser of this file, and DNSMOS without its network."""
    project = types.SimpleNamespace(halves=Halves, listener=lambda: power)
    monkeypatch.setitem(sys.modules, "their_project", project)
    monkeypatch.setattr(Halves, "calls", 0)
    opinions = lambda x, target, rate: dict.fromkeys(utterance.EXTRA["dnsmos"], float(np.abs(x).mean()))  # noqa: E731
    monkeypatch.setitem(utterance.FUNCTIONS, "dnsmos", opinions)
    recipe_module("VoiceBank", "strength_report")
    module = recipe_module("VoiceBank", "strength")
    monkeypatch.setattr(module, "METRICS", ("si_sdr", "dnsmos"))
    places = ["--data", data / "test.csv", "--data_root", data / "set", "--output", data / "out"]
    places += ["--results", data / "RESULTS.md", "--workers", 0, "--recogniser", "their_project:listener"]
    module.call = lambda *options: module.main([str(word) for word in (*options, *places)])
    return module


def test_a_table_and_a_picture(strength, data):
    strength.call("their_project:halves", "--name", "half", "--strengths", 0.5, 1)
    text = (data / "RESULTS.md").read_text()
    assert f"{FILES} files, {SPEAKERS} speakers, 1 training(s)" in text and "a bootstrap of speakers" in text
    rows = [line for line in text.splitlines() if line.startswith(("| 0", "| 1"))]
    assert [row.split(" | ")[0] for row in rows] == ["| 0, the input", "| 0.5", "| 1", "| 0.5", "| 1"]
    assert "of their_project:listener against what it hears in the clean file" in text
    assert "PESQ: 0 of 6 files" in text and str(data) not in text
    assert (
        "<svg" in (data / "strength_half.svg").read_text()
        and "![differences against the strength](strength_half.svg)" in text
    )


def test_the_ends_are_the_input_and_the_output(strength, data):
    strength.call("their_project:halves", "--name", "half", "--strengths", 1e-9, 1)
    folder = data / "out" / "half" / "training1"
    with (folder / "strength_1e-09" / "per_utterance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["si_sdr"] == row["si_sdr_in"] and row["wer"] == row["wer_in"] for row in rows)
    with (folder / "strength_1" / "per_utterance.csv").open() as file:
        assert all(row["si_sdr"] != row["si_sdr_in"] for row in csv.DictReader(file))


def test_the_same_command_goes_on(strength, data):
    options = ("their_project:halves", "--name", "half", "--strengths", 0.5, 1)
    strength.call(*options)
    once, text = Halves.calls, (data / "RESULTS.md").read_text()
    (data / "out" / "half" / "training1" / "strength_1" / "summary.json").unlink()
    (data / "out" / "half" / "clean_texts.jsonl").write_text('["u0", "one two"]\n["u1", "on')
    strength.call(*options)
    assert FILES == once == Halves.calls - once
    heard = [json.loads(line) for line in (data / "out" / "half" / "clean_texts.jsonl").read_text().splitlines()]
    assert [ID for ID, _ in heard] == [f"u{n}" for n in range(FILES)] and heard[0][1] == "one two"
    assert (data / "RESULTS.md").read_text().count("strength-half:begin") == 1 and "half" in text


def test_scores_of_something_else_are_not_taken(strength, data):
    options = ("their_project:halves", "--name", "half", "--strengths", 1)
    strength.call(*options)
    with pytest.raises(UserError, match="holds scores with other models. Give another --name or --output"):
        strength.call("their_project:halves", *options)
    text = (data / "test.csv").read_text()
    (data / "test.csv").write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match="holds scores with other data"):
        strength.call(*options)


def test_texts_of_the_set_come_first(strength, data):
    lines = (data / "test.csv").read_text().splitlines()
    (data / "test.csv").write_text("\n".join([f"{lines[0]},text", *(f"{line},one two three" for line in lines[1:])]))
    strength.call("their_project:halves", "--name", "half", "--strengths", 1)
    assert "against the texts of the set" in (data / "RESULTS.md").read_text()
    assert not (data / "out" / "half" / "clean_texts.jsonl").exists()


def test_what_cannot_be_is_one_line(strength, data):
    with pytest.raises(UserError, match="--strengths: expected shares up to 1, got 2"):
        strength.call("their_project:halves", "--strengths", 2)
    text = (data / "test.csv").read_text()
    (data / "test.csv").write_text(text.replace("s1_wav", "other_wav"))
    with pytest.raises(UserError, match="its clean speech, in the column s1_wav"):
        strength.call("their_project:halves")


def scores(gain):
    """Forty files of eight speakers; a word error rate of a quarter in long files, of a half in short ones."""
    ids = [f"u{n}" for n in range(40)]
    columns = {
        "pesq": [2.0 + 0.1 * (n % 5) + gain * (1 + n % 2) for n in range(40)],
        "pesq_in": [2.0 + 0.1 * (n % 5) for n in range(40)],
        "wer": [0.5] * 40,
        "wer_in": [0.5 if n % 2 else 0.25 for n in range(40)],
        "wer_words": [2.0 if n % 2 else 8.0 for n in range(40)],
    }
    numbers = {name: dict(zip(ids, values, strict=True)) for name, values in columns.items()}
    return ScoreTable("t", numbers, {"speaker": {ID: f"s{n % 8}" for n, ID in enumerate(ids)}}, ids)


def test_differences_are_paired_and_word_errors_are_pooled(recipe_module):
    report = recipe_module("VoiceBank", "strength_report")
    curves = report.curves_of({(t, s): scores(s / 10 + t / 1000) for t in (1, 2) for s in (0.5, 1.0)})
    first, half, whole = curves.points["pesq"]
    assert (first.strength, half.strength, whole.strength) == (0, 0.5, 1) and curves.trainings == 2
    assert whole.difference.mean == pytest.approx(1.5 * 0.1015) and whole.shown and half.shown
    assert whole.difference.high - whole.difference.low < whole.mean.high - whole.mean.low
    assert curves.points["wer"][0].mean.mean == pytest.approx(0.3) and not curves.points["wer"][0].shown
    assert curves.files["pesq"] == 40 and curves.files["si_sdr"] == 0 and curves.speakers == 8
    assert np.isnan(curves.points["si_sdr"][1].mean.mean)
