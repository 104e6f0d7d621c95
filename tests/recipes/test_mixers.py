"""Mixers at one size in two frames: both parts as a user runs them, stopped and gone on; their costs; wrong names."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes.data.manifest import read_manifest, write_manifest
from lobes.errors import UserError

RECIPES = Path(__file__).parents[2] / "recipes"
TEST = "device=cpu test_metrics=[si_sdr,pesq,stoi] n_audio_to_save=0 scoring_workers=0 num_workers=0 batch_size=1"
SMALL = {
    "es": "n_layers=1 n_fft=128 hop_length=64 emb_dim=4 lstm_hidden_units=8 training_signal_len=800",
    "voicebank": "n_channels=8 n_layers=1 training_signal_len=4000",
}


@pytest.fixture
def mixers(monkeypatch, tmp_path):
    """The program with small networks; `call` runs it with places of the test."""
    monkeypatch.syspath_prepend(RECIPES)
    for name in ("mixers", "mixers_costs", "comparison", "comparison_entries", "out_of_domain", "realdata_set"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("mixers")
    for name, frame in module.FRAMES.items():
        small = replace(frame, options=(*frame.options, *TEST.split(), *SMALL[name].split()))
        monkeypatch.setitem(module.FRAMES, name, small)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.csv").write_text("path,kind,speaker,split,sample_rate\n", encoding="utf-8")
    places = ["--recordings", tmp_path / "data", "--output", tmp_path / "out", "--results", tmp_path / "RESULTS.md"]
    module.call = lambda *options: module.main([str(word) for word in (*places, *options)])
    return module


def pairs(folder):
    """Three pairs for training, one of them a valid speaker's, and three of two speakers for the test."""
    rng, time = np.random.default_rng(0), np.arange(2 * 16000) / 16000
    names = {"trainset_28spk_wav": ("p225_1", "p225_2", "p226_1"), "testset_wav": ("p232_1", "p232_2", "p257_1")}
    for part, ids in names.items():
        for number, name in enumerate(ids):
            tone = sum(np.sin(2 * np.pi * k * (110 + 30 * number) * time) / k for k in range(1, 12))
            clean = 0.1 * tone * np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
            for kind, signal in (("clean", clean), ("noisy", clean + 0.03 * rng.standard_normal(len(time)))):
                path = folder / f"{kind}_{part}" / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, signal, 16000)
    return ["p226"]


@pytest.fixture
def data(mixers, monkeypatch, recipe_module, corpus):
    """Miniatures in place of the corpora, whose second tests are their own tests once more."""

    def second(recipe, data_folder, folder, **options):
        module = recipe_module(recipe, f"{recipe.lower()}_prepare")
        getattr(module, f"prepare_{recipe.lower()}")(data_folder, folder / "manifests", **options)
        write_manifest(folder / "second.csv", read_manifest(folder / "manifests" / "test.csv", data_folder))
        return folder / "second.csv"

    def second_es(recordings, task, folder):
        return second("PolSESS", corpus, folder, splits=["test"])

    def second_voicebank(recordings, folder):
        return second("VoiceBank", folder / "set", folder, valid_speakers=["p226"])

    monkeypatch.setattr(mixers.realdata_corpora, "make_data", lambda *_: corpus)
    monkeypatch.setattr(mixers.realdata_set, "make_set", lambda recordings, folder, seed: pairs(folder))
    monkeypatch.setattr(mixers.out_of_domain_corpus, "make_manifest", second_es)
    monkeypatch.setattr(mixers.out_of_domain_pairs, "make_manifest", second_voicebank)


@pytest.mark.slow
def test_both_parts_go_on_after_a_stop_and_have_a_section_each(mixers, data, monkeypatch, tmp_path):
    """Real training, two steps of each network."""
    words = ["--parts", "es", "voicebank", "--mixers", "mamba", "lstm", "--seeds", "1", "--steps", "2"]
    run_all = mixers.comparison.run_all

    def stopped(runs, **options):
        run_all(runs[:1], **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mixers.comparison, "run_all", stopped)
        mixers.call(*words)
    assert not (tmp_path / "RESULTS.md").exists()
    mixers.call(*words)
    starts = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*/train_time.json")}
    assert set(starts) == {
        f"{frame}_{mixer}_seed1" for frame in ("tf_gridnet_mini", "bsrnn_local_norms") for mixer in ("mamba", "lstm")
    }
    first = next(tmp_path.glob("out/mixers_es/tf_gridnet_mini_mamba_seed1/train_time.json")).stat().st_mtime_ns
    assert first == min(starts.values())
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    es, voicebank = (text.partition(f"<!-- comparison-mixers_{name}:begin -->")[2].partition("<!--")[0]
                     for name in mixers.FRAMES)  # fmt: skip
    assert "| model | SI-SDRi [95 %] |" in es and "| model | PESQ gain [95 %] |" in voicebank
    for part, model in ((es, "tf_gridnet_mini"), (voicebank, "bsrnn_local_norms")):
        for measure in ("pesq", "si_sdri"):
            begin = f"| {model} mamba | {model} lstm | {measure} |"
            rows = [line for line in part.splitlines() if line.startswith(begin)]
            assert len(rows) == 2, "over the first test, and over both"
        assert part.count(" parameters (") == 2 and "--match parameters" in part
        assert "mixers.py --recordings data" in part
        assert "which was chosen with this frame's own LSTMs" in part and "Polish of 24 voices" in part
    mixers.call(*words)
    again = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*/train_time.json")}
    assert again == starts and (tmp_path / "RESULTS.md").read_text(encoding="utf-8").count("### Comparison of") == 2


NAMES = {
    "a mixer": (["--mixers", "lstm", "lstn"], "got 'lstn'. Did you mean 'lstm'"),
    "a mixer twice": (["--mixers", "lstm", "lstm"], "two lines would have the name"),
    "a part": (["--parts", "es", "voicebnk"], "voicebnk"),
    "two budgets": (["--steps", "2", "--minutes", "1"], "give one budget"),
    "a folder": (["--recordings", "nowhere"], "nowhere: no manifest.csv.*--recordings FOLDER"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_name_is_found_before_anything_is_made(mixers, monkeypatch, tmp_path, name):
    words, message = NAMES[name]
    for module, function in ((mixers.comparison, "run_all"), (mixers.mixers_costs, "measured")):
        monkeypatch.setattr(module, function, lambda *_, **__: pytest.fail("something was started"))
    places = ["--output", str(tmp_path / "out"), "--results", str(tmp_path / "RESULTS.md")]
    if "--recordings" not in words:
        places += ["--recordings", str(tmp_path / "data")]
    with pytest.raises(UserError, match=message):
        mixers.main([*places, *words])
    assert not (tmp_path / "out").exists() and not (tmp_path / "RESULTS.md").exists()


# ------------------------------------------------------------------ costs
@pytest.fixture
def fake_costs(mixers, monkeypatch):
    """In the place of fresh processes: figures that grow with the calls; those of a mixer may fail."""
    asked = []

    def measured(case, path, memory, limit):
        if len(asked) == measured.most:
            raise KeyboardInterrupt
        asked.append(case)
        if case["options"]["mixer"] == measured.failing:
            return {"failed": "stopped at 9 MB of memory"}
        return {"rtf": 0.001 * len(asked), "cpu_rtf": 9.0, "peak_mb": 9.0, "over_mb": 1.0 * case["seconds"]}

    measured.most, measured.failing, measured.asked = -1, "", asked
    monkeypatch.setattr(mixers.mixers_costs, "measured", measured)
    return measured


def test_costs_go_on_after_a_stop_and_are_medians(mixers, fake_costs, tmp_path):
    fake_costs.most = 5
    words = ["--parts", "costs", "--mixers", "mamba", "attention"]
    with pytest.raises(KeyboardInterrupt):
        mixers.call(*words)
    fake_costs.most = -1
    mixers.call(*words)
    assert len(fake_costs.asked) == 2 * 2 * 3 * 3  # frames, mixers, lengths, repeats
    case = fake_costs.asked[0]
    assert case["model"] == "tf_gridnet_mini" and case["threads"] == 1 and case["chunk_s"] == 0
    assert case["options"]["mixer"] == "mamba" and case["options"]["num_sources"] == 1, "as in the comparison of ES"
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| tf_gridnet_mini mamba |"))
    # the calls 1, 7 and 13 are those of 1 s, and so on
    assert row.split(" | ")[3:] == ["0.007", "0.008", "0.009", "1", "10", "60 |"]
    assert "RTF, 1 s" in text and "MB, 1 min" in text and text.count("### Costs of 2 mixers by length") == 2
    mixers.call(*words)
    assert len(fake_costs.asked) == 36 and (tmp_path / "RESULTS.md").read_text(encoding="utf-8") == text


def test_costs_that_cannot_be_measured_are_named_and_tried_again(mixers, fake_costs, tmp_path):
    fake_costs.failing = "attention"
    words = ["--parts", "costs", "--mixers", "mamba", "attention"]
    mixers.call(*words)
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert text.count("- tf_gridnet_mini attention, 1 min: stopped at 9 MB of memory\n") == 1
    assert next(line for line in text.splitlines() if line.startswith("| bsrnn_local_norms attention |")).endswith(
        "| - | - | - | - | - | - |"
    )
    before = len(fake_costs.asked)
    mixers.call(*words)
    assert len(fake_costs.asked) == before + before // 2


def test_costs_of_another_commit_are_measured_again(mixers, fake_costs, tmp_path):
    words = ["--parts", "costs", "--mixers", "mamba"]
    mixers.call(*words)
    place = tmp_path / "out" / "costs_es.json"
    place.write_text(json.dumps({**json.loads(place.read_text("utf-8")), "commit": "other"}), encoding="utf-8")
    before = len(fake_costs.asked)
    mixers.call(*words)
    assert len(fake_costs.asked) == before + 9
