"""The second test of real-speech tables: foreign sounds, never trained on; each run tested once; both domains shown."""

import csv
import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.evaluation.manifest import open_manifest
from lobes.evaluation.score_tables import ScoreTable, read_scores
from lobes.polsess.corpus.clips import Clip

RECIPES = Path(__file__).parents[2] / "recipes"


def voices(counts, seed):
    """In the place of the synthesiser: two speakers of 3 s noise."""
    wave = 0.1 * np.random.default_rng(seed).standard_normal(22050 * 3).astype(np.float32)
    return {"test": {name: [Clip(name, name, lambda: (wave, 22050))] * 4 for name in ("pl_anna", "pl_jan")}}


@pytest.fixture
def load(recipe_module, monkeypatch):
    """load("VoiceBank", "out_of_domain_pairs"): a module of a recipe, without the synthesiser."""

    def module(recipe, name):
        monkeypatch.syspath_prepend(str(RECIPES))
        loaded = recipe_module(recipe, name)
        monkeypatch.setattr(importlib.import_module("out_of_domain_sounds"), "made_speech", voices)
        return loaded

    return module


@pytest.fixture
def recordings(tmp_path):
    """A recorded Polish speaker, two who say digits, three responses."""
    rng, folder = np.random.default_rng(0), tmp_path / "recordings"
    audio.write(folder / "speech/polish/test/picovoice_pl/a.flac", 0.1 * rng.standard_normal(8 * 16000 + 50), 16000)
    audio.write(folder / "speech/polish/test/picovoice_pl/b.flac", 0.1 * rng.standard_normal(35000), 16000)
    for name, level in (("george", 0.1), ("lucas", 0.2)):
        for digit in range(10):
            for take in range(5):
                path = folder / f"speech8k/fsdd/{name}/{digit}_{name}_{take}.flac"
                audio.write(path, level * rng.standard_normal(1000 + 10 * digit + take), 8000)
    for number in (1, 3, 4):
        response = rng.standard_normal(1600) * np.exp(-np.arange(1600) / 300)
        response[0] = 4.0
        audio.write(folder / f"rir/speechbrain/rir{number}.flac", response / 5, 16000)
    return folder


def test_every_recording_is_used_once_and_its_words_are_known(load, recordings, tmp_path):
    sounds = load("VoiceBank", "out_of_domain_sounds")
    folder = sounds.make_sounds(recordings, tmp_path / "sounds", 16000)
    rows = sounds.read_speech(folder)
    count = {speaker: sum(row["speaker"] == speaker for row in rows) for speaker in {row["speaker"] for row in rows}}
    assert count == {"pl_anna": 2, "pl_jan": 2, "picovoice_pl": 3, "fsdd_george": 10, "fsdd_lucas": 10}
    words = [word for row in rows if row["speaker"] == "fsdd_lucas" for word in row["text"].split()]
    assert sorted(words) == sorted(5 * sounds.WORDS)
    first = next(row for row in rows if row["speaker"] == "fsdd_lucas")
    spoken = sum(1000 + 10 * sounds.WORDS.index(word) for word in first["text"].split())
    assert 0 <= audio.probe(folder / first["path"]).frames - spoken - 4 * 800 <= 4 * 1600 + 5 * 4
    assert not any(row["text"] for row in rows if not row["speaker"].startswith("fsdd"))
    assert {path.parent.name for path in folder.glob("scenes/*/*.wav")} == set(sounds.SCENES)
    assert sounds.make_sounds(recordings / "gone", folder, 16000) == folder


def test_recordings_of_an_earlier_version_are_one_line(load, recordings, tmp_path):
    sounds = load("VoiceBank", "out_of_domain_sounds")
    (recordings / "rir").rename(recordings / "responses")
    with pytest.raises(UserError, match="no rir/speechbrain, which the second test needs. .*recordings.py"):
        sounds.make_sounds(recordings, tmp_path / "sounds", 16000)
    assert not list(tmp_path.glob("sounds*"))


def test_noises_are_of_kinds_that_no_training_holds(load):
    sounds, real = load("VoiceBank", "out_of_domain_sounds"), load("PolSESS", "realdata_corpora")
    trained = {Path(pattern).parent.name for patterns in real.SCENES.values() for pattern in patterns}
    assert trained | set(real.EVENTS) == {
        "speech_commands",
        "fire_crackling",
        "sea_waves",
        "rain",
        "helicopter",
        "dog_bark",
        "clock_tick",
        "chainsaw",
    }
    assert not {*sounds.SCENES, *sounds.EVENTS} & {*trained, *real.SCENES, *real.EVENTS, "dog"}


def test_pairs_have_the_levels_of_the_first_test_and_every_second_is_in_a_room(load, recordings, tmp_path):
    pairs, sounds = load("VoiceBank", "out_of_domain_pairs"), load("VoiceBank", "out_of_domain_sounds")
    manifest = pairs.make_manifest(recordings, tmp_path)
    rows = open_manifest(manifest).rows
    assert len(rows) == 2 * 2 + 3 * 3 + 2 * 10 and {row["speech"] for row in rows} == set(sounds.KINDS.values())
    for row in rows:
        noisy, clean = (audio.read_mono(row[column], 16000) for column in ("mix_wav", "s1_wav"))
        snr = 10 * np.log10(np.square(clean).sum() / np.square(noisy - clean).sum())
        assert min(abs(snr - wanted) for wanted in pairs.TEST_SNRS) < 0.05
        assert row["room"] == ("measured" if int(row["ID"][-3:]) % 2 == 0 else "none")
    dry, wet = (audio.read_mono(row["s1_wav"]) for row in rows if row["speaker"] == "pl_anna")
    assert np.abs(wet / np.abs(wet).max() - dry / np.abs(dry).max()).max() > 0.05
    before = manifest.stat().st_mtime_ns
    assert pairs.make_manifest(recordings, tmp_path) == manifest and manifest.stat().st_mtime_ns == before


def test_the_same_recordings_give_the_same_pairs(load, recordings, tmp_path):
    pairs = load("VoiceBank", "out_of_domain_pairs")
    one, two = (pairs.make_manifest(recordings, tmp_path / name).parent for name in ("a", "b"))
    files = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert len(files) == 2 * 33 + 1 and all((one / file).read_bytes() == (two / file).read_bytes() for file in files)


@pytest.mark.parametrize("task, sources", [("ES", 1), ("SB", 2)])
def test_the_second_corpus_of_a_task(load, recordings, tmp_path, monkeypatch, task, sources):
    corpus = load("PolSESS", "out_of_domain_corpus")
    monkeypatch.setattr(corpus, "COUNT", 4)
    manifest = corpus.make_manifest(recordings, task, tmp_path)
    rows = open_manifest(manifest).rows
    assert [bool(row["sp1_reverb_wav"]) for row in rows].count(True) == 2
    for row in rows:
        heard = [row[f"speaker{number + 1}"] for number in range(sources)]
        assert row["speech"] == corpus.kind_of(heard) and Path(row["mix_wav"]).is_file()
    assert corpus.make_manifest(recordings / "gone", task, tmp_path) == manifest


# ------------------------------------------------------------------ the second test of a run
@pytest.fixture
def domain(load, monkeypatch):
    """The module, with a model that adds nothing but counts how often it is loaded."""
    module = load("VoiceBank", "out_of_domain")
    module.loaded = []

    def load_separator(model, device, level):
        module.loaded.append(model)
        return SimpleNamespace(separate=lambda mix: mix[:, None], num_sources=1, sample_rate=8000, task=None)

    monkeypatch.setattr(importlib.import_module("lobes.inference.by_name"), "load_separator", load_separator)
    return module


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "train_time.json").write_text("{}")
    return folder


@pytest.fixture
def manifest(tmp_path):
    """Three pairs of half a second."""
    rng, rows = np.random.default_rng(0), ["ID,mix_wav,s1_wav,speaker,room,duration"]
    for number in range(3):
        for kind in ("mix", "clean"):
            audio.write(tmp_path / f"{kind}{number}.wav", 0.1 * rng.standard_normal(4000), 8000)
        rows.append(f"u{number},mix{number}.wav,clean{number}.wav,s{number % 2},{'none' if number else 'measured'},0.5")
    (tmp_path / "second.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "second.csv"


def test_a_run_is_tested_once_with_the_conditions_of_the_manifest(domain, run, manifest):
    out = domain.test(run, manifest)
    table = read_scores(out)
    assert table.words["speaker"] == {"u0": "s0", "u1": "s1", "u2": "s0"} and table.words["room"]["u0"] == "measured"
    assert table.numbers["si_sdr"] == table.numbers["si_sdr_in"]  # the model gives its input
    domain.test(run, manifest)
    assert domain.loaded == [str(run)]


@pytest.mark.parametrize("file", ["second.csv", "run/train_time.json"])
def test_another_manifest_or_training_is_tested_again(domain, run, manifest, tmp_path, file):
    domain.test(run, manifest)
    (tmp_path / file).write_text((tmp_path / file).read_text() + "\n")
    domain.test(run, manifest)
    assert len(domain.loaded) == 2


def test_a_test_that_was_stopped_is_no_result(domain, run, manifest, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("lobes.evaluation.manifest"), "evaluate", stopped)
        with pytest.raises(KeyboardInterrupt):
            domain.test(run, manifest)
    assert domain.test(run, manifest) / "summary.json" in domain.test(run, manifest).iterdir()
    assert len(domain.loaded) == 2


def test_the_size_of_a_test_counts_every_speaker_once(domain, manifest):
    assert domain.sizes(manifest) == {"pairs": 3, "speakers": 2}


# ------------------------------------------------------------------ the tables
def scores(gains, speakers=4, seed=0):
    """A table of 12 utterances whose PESQ gains are those, around an input of 2."""
    ids = [f"u{number}" for number in range(12)]
    before = {ID: 2.0 + 0.1 * (number % 3) for number, ID in enumerate(ids)}
    after = {ID: before[ID] + gains + 0.02 * ((number + seed) % 2) for number, ID in enumerate(ids)}
    words = {"speaker": {ID: f"s{number % speakers}" for number, ID in enumerate(ids)}}
    words["room"] = {ID: "none" if number < 4 else "measured" for number, ID in enumerate(ids)}
    return ScoreTable("t", {"pesq": after, "pesq_in": before}, words, ids)


def test_a_gain_is_the_mean_over_utterances_and_trainings(domain):
    before, after, found = domain.gain([scores(0.5), scores(0.7, seed=1)], "pesq")
    assert (before, after) == (pytest.approx(2.1), pytest.approx(2.71))
    assert found.mean == pytest.approx(0.61) and found.low < 0.55 and found.high > 0.66  # two trainings say little
    _, _, alone = domain.gain([scores(0.5)], "pesq")
    assert 0.48 < alone.low < 0.5099 and 0.5101 < alone.high < 0.54


def test_a_single_speaker_has_no_interval(domain):
    found = domain.gain([scores(0.5, speakers=1)], "pesq")[2]
    assert np.isnan(found.low) and domain.interval(found, 2) == "0.51"


def test_utterances_without_a_number_and_columns_that_are_missing(domain):
    table = scores(0.5)
    table.numbers["pesq"]["u0"] = np.nan
    assert len(domain.common([table, scores(0.5)], "pesq", table.numbers["pesq_in"])) == 11
    assert domain.rows_of("m", [ScoreTable("t", {}, {}, ["a"])], [table])[0][2:5] == ["-", "-", "-"]


def test_both_domains_stand_next_to_each_other(domain, monkeypatch):
    tables = {"a": scores(0.5), "b": scores(0.2), "a/out_of_domain": scores(0.1), "b/out_of_domain": scores(0.3)}
    monkeypatch.setattr(domain, "read_scores", lambda place: tables[place.as_posix()])
    text = domain.section({"a": [Path("a")], "b": [Path("b")]}, "Other speakers.")
    assert re.search(r"\| a \| PESQ \| 2.10 \| 2.61 \| 0.51 \[.*\] \| 2.10 \| 2.21 \| 0.11 \[.*\] \|\n", text)
    (pair,) = [line for line in text.splitlines() if line.startswith("| a | b | pesq |")]
    assert [cell.strip() for cell in pair.split("|")][4:-1:2] == ["0.30 [0.30, 0.30]", "-0.20 [-0.20, -0.20]"]
    assert "| room: none | 4 | 4 | 0.11 [" in text and text.startswith("Other speakers.")


def test_the_table_of_recordings_holds_what_the_second_test_reads(load):
    sounds = load("VoiceBank", "out_of_domain_sounds")
    with (RECIPES / "recordings.csv").open(encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    digits = {path for path in paths if path.startswith(f"{sounds.DIGITS}/")}
    names = {path.split("/")[2] for path in digits}
    assert digits == {
        f"{sounds.DIGITS}/{name}/{digit}_{name}_{take}.flac"
        for name in names
        for digit in range(10)
        for take in range(sounds.TAKES)
    }
    assert len(names) == 3 and sum(path.startswith(f"{sounds.POLISH}/") for path in paths) == 2
    assert {path for path in paths if path.startswith("rir/")} == {
        f"{sounds.RESPONSES}/{room}" for room in sounds.ROOMS
    }
