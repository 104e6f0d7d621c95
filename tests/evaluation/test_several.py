"""Several systems on the same items: each as if it were alone, the mixture once, and a kill costs nothing twice."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.manifest import write_manifest
from lobes.errors import UserError
from lobes.evaluation import job as scoring_job
from lobes.evaluation.candidates import Asked, UntouchedMixture
from lobes.evaluation.items import CheckedItems
from lobes.evaluation.manifest import evaluate, open_manifest
from lobes.evaluation.several import evaluate_one, evaluate_several
from lobes.evaluation.stored import StoredOutputs
from lobes.runs.table import read_per_utterance

RATE, SAMPLES = 8000, 4000
METRICS = ("si_sdr", "stoi")


class Gain:
    """The mixture less a share of the noise that a fixed generator adds; remembers what it was asked."""

    num_sources, sample_rate = 1, RATE

    def __init__(self, label, share, fingerprint=""):
        self.label, self.share, self.fingerprint, self.asked = label, share, fingerprint, []

    def prepare(self, mixtures, num_sources):
        assert num_sources == 1

    def estimates(self, ID, mix, rate):
        self.asked.append(ID)
        return (mix + self.share * np.random.default_rng(len(ID)).standard_normal(len(mix)))[:, None] / 3


@pytest.fixture
def data(tmp_path):
    """Four noisy items of two speakers, and a function that gives them as checked items."""
    rng, rows = np.random.default_rng(0), []
    for number in range(4):
        clean = 0.1 * rng.standard_normal(SAMPLES) * np.repeat(rng.random(40), 100)
        for part, samples in (("mix", clean + 0.03 * rng.standard_normal(SAMPLES)), ("s1", clean)):
            audio.write(tmp_path / "data" / f"{part}_{number}.wav", samples, RATE)
        files = {"mix_wav": f"$data_root/mix_{number}.wav", "s1_wav": f"$data_root/s1_{number}.wav"}
        rows.append({"ID": f"u{number}", "duration": SAMPLES / RATE, **files, "speaker": f"p{number % 2}"})
    write_manifest(tmp_path / "data" / "test.csv", rows)
    return tmp_path


def items_of(data, rate=RATE):
    return CheckedItems(open_manifest(data / "data" / "test.csv"), 1, rate, METRICS)


def table(folder):
    return (folder / "per_utterance.csv").read_text()


def test_each_system_has_the_numbers_that_it_has_alone(data):
    systems = [Gain("a", 0.01), Gain("b", 0.1)]
    found = evaluate_several(systems, items_of(data), data / "out", Asked(METRICS), 0)
    assert list(found) == ["a", "b", "noisy"]
    for one in systems:
        alone = evaluate_one(one, items_of(data), data / "alone", Asked(METRICS), 0)
        assert table(data / "alone") == table(data / "out" / one.label) and alone == found[one.label]
        assert alone == json.loads((data / "out" / one.label / "summary.json").read_text())
    mixture = read_per_utterance(data / "out" / "noisy" / "per_utterance.csv")
    for row, other in zip(mixture, read_per_utterance(data / "out" / "a" / "per_utterance.csv"), strict=True):
        assert row["si_sdr"] == row["si_sdr_in"] == other["si_sdr_in"] and row["stoi"] == other["stoi_in"]
        assert row["si_sdri"] == 0 and other["si_sdri"] == pytest.approx(other["si_sdr"] - row["si_sdr"], abs=2e-6)
        assert row["duration"] == "below 1 s" and row["speaker"] == other["speaker"] and "dB" in row["input_snr"]
    alone = evaluate_one(UntouchedMixture(), items_of(data), data / "alone", Asked(METRICS), 0)
    assert table(data / "alone") == table(data / "out" / "noisy") and alone["against_input"]["stoi"]["improved"] == 0


def test_the_mixture_is_scored_once_for_all_systems(data, monkeypatch):
    from lobes.metrics import measures

    scored, stoi = [], measures.stoi
    monkeypatch.setattr(measures, "stoi", lambda *signals: scored.append(1) or stoi(*signals))
    evaluate_several([Gain(label, 0.1) for label in "abc"], items_of(data), data / "out", Asked(METRICS), 0)
    assert len(scored) == 4 * (1 + 3)


def test_audio_stands_with_each_system(data):
    evaluate_several([Gain("a", 0.1), Gain("b", 0.2)], items_of(data), data / "out", Asked(("si_sdr",)), 0, 1)
    assert [(data / "out" / label / "audio" / "u0" / "s1_hat.wav").is_file() for label in "ab"] == [True, True]
    assert not (data / "out" / "a" / "audio" / "u1").exists()


def test_what_is_done_is_neither_made_nor_scored_again(data, monkeypatch):
    """The same call does nothing; one more system is done alone; a changed one, and changed signals, are done anew."""

    def run(*systems, metrics=METRICS):
        scored = []
        monkeypatch.setattr(scoring_job, "score", lambda *rest: scored.append(1) or score(*rest))
        found = evaluate_several(systems, items_of(data), data / "out", Asked(metrics), 0)
        return found, [one.asked for one in systems], len(scored)

    score, all_of_them = scoring_job.score, ["u0", "u1", "u2", "u3"]
    a, b = (lambda: Gain("a", 0.01, "A")), (lambda: Gain("b", 0.1, "B"))
    first, asked, scored = run(a(), b())
    assert asked == [all_of_them, all_of_them] and scored == 8
    second, asked, scored = run(a(), b())
    assert second == first and asked == [[], []] and scored == 0
    third, asked, scored = run(a(), b(), Gain("c", 0.2, "C"))
    assert asked == [[], [], all_of_them] and scored == 4 and third["a"] == first["a"]
    changed, asked, scored = run(Gain("a", 0.05, "other weights"), b())
    assert asked == [all_of_them, []] and scored == 4 and changed["a"] != first["a"]
    audio.write(data / "data" / "mix_2.wav", np.random.default_rng(9).standard_normal(SAMPLES) / 9, RATE)
    _, asked, scored = run(Gain("a", 0.05, "other weights"), b())
    assert asked == [["u2"], ["u2"]] and scored == 2
    _, asked, _ = run(b(), metrics=("si_sdr",))
    assert asked == [all_of_them]
    assert len((data / "out" / "scored.jsonl").read_text().splitlines()) == 8, "rows of other questions are forgotten"


def test_a_system_without_a_fingerprint_is_made_again_and_not_scored_again(data, monkeypatch):
    one = Gain("a", 0.01)
    first = evaluate_several([one], items_of(data), data / "out", Asked(METRICS), 0)
    monkeypatch.setattr(scoring_job, "score", lambda *rest: 1 / 0)
    assert evaluate_several([one], items_of(data), data / "out", Asked(METRICS), 0) == first
    assert len(one.asked) == 8


KILLED = """
import os, pathlib, signal, sys
from tests_of_several import Gain, items_of
from lobes.evaluation.candidates import Asked
from lobes.evaluation.several import evaluate_several

data, after = pathlib.Path(sys.argv[1]), int(sys.argv[2])

class Mortal(Gain):
    def estimates(self, ID, mix, rate):
        with open(data / "asked.txt", "a") as file:
            print(self.label, ID, file=file)
        if len((data / "asked.txt").read_text().splitlines()) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().estimates(ID, mix, rate)

systems = [Mortal("a", 0.01, "A"), Mortal("b", 0.1, "B")]
evaluate_several(systems, items_of(data), data / "out", Asked(("si_sdr",)), 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_evaluation_goes_on(data, monkeypatch):
    """Killed with SIGKILL at the sixth of eight separations; the same command makes that one and the rest."""
    (data / "tests_of_several.py").write_text(open(__file__, encoding="utf-8").read())
    command = [sys.executable, "-c", KILLED, str(data)]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(data), *filter(None, sys.path)])}
    first = subprocess.run([*command, "6"], env=paths, capture_output=True, text=True)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert not (data / "out" / "a").exists() and (data / "out" / "scored.jsonl").is_file()
    before = (data / "asked.txt").read_text().splitlines()
    second = subprocess.run([*command, "99"], env=paths, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    after = (data / "asked.txt").read_text().splitlines()[len(before) :]
    assert before[-1] == "b u2" and after == ["b u2", "a u3", "b u3"]
    evaluate_several([Gain("a", 0.01), Gain("b", 0.1)], items_of(data), data / "whole", Asked(("si_sdr",)), 0)
    assert [table(data / "out" / label) for label in ("a", "b", "noisy")] == [
        table(data / "whole" / label) for label in ("a", "b", "noisy")
    ]


# ---- outputs in files
def stored(data, names, rate=RATE, samples=SAMPLES, folder="theirs"):
    """Outputs: the mixture, whatever the name."""
    for name in names:
        number = next(letter for letter in name if letter.isdigit())
        mix = audio.read_mono(data / "data" / f"mix_{number}.wav")
        wave = np.resize(mix, samples) if rate == RATE else np.repeat(mix, rate // RATE)[:samples]
        audio.write(data / folder / name, wave, rate, "PCM_16")
    return StoredOutputs("theirs", data / folder)


@pytest.mark.parametrize(
    "form", ["u{}.wav", "u{}_enhanced.wav", "u{}_s1.wav", "mix_{}.flac", "mix_{}_enhanced.wav", "mix_{}_s1.wav"]
)
def test_outputs_have_the_name_of_the_item_or_of_its_mixture(data, form):
    outputs = stored(data, [form.format(n) for n in range(4)])
    found = evaluate_one(outputs, items_of(data), data / "out", Asked(("si_sdr",)), 0)
    assert found["mean"]["si_sdri"] == pytest.approx(0, abs=1e-5) and found["n"] == 4


def never(*rest):
    raise AssertionError("nothing is scored before everything is checked")


def refused(data, outputs, message, monkeypatch):
    monkeypatch.setattr(scoring_job, "score", never)
    with pytest.raises(UserError, match=message) as error:
        evaluate_one(outputs, items_of(data), data / "out", Asked(("si_sdr",)), 0)
    assert "\n" not in str(error.value)


def test_outputs_that_are_missing_ambiguous_damaged_or_of_another_length_are_named_first(data, monkeypatch):
    outputs = stored(data, ["u0.wav", "mix_3_enhanced.wav"])
    refused(data, outputs, r"no output of 2 of 4 items: u1, u2. Expected ID.wav or ID_enhanced.wav", monkeypatch)
    outputs = stored(data, ["u1.wav", "u2.wav", "mix_2_s1.wav"])
    refused(data, outputs, r"u2 has u2.wav, mix_2_s1.wav, expected the files of 1 source", monkeypatch)
    (data / "theirs" / "mix_2_s1.wav").unlink()
    stored(data, ["u1.wav"], samples=SAMPLES - 1)
    refused(data, outputs, r"u1: the mixture has 4000 samples, its output 3999 \(u1.wav\)", monkeypatch)
    (data / "theirs" / "u1.wav").write_bytes((data / "theirs" / "u0.wav").read_bytes()[:999])
    refused(data, outputs, r"1 of 4 outputs cannot be scored: u1: .*truncated", monkeypatch)


def test_two_outputs_where_there_is_one_source_are_refused(data, monkeypatch):
    outputs = stored(data, [f"u{n}_s1.wav" for n in range(4)] + ["u1_s2.wav"])
    refused(data, outputs, r"u1 has u1_s1.wav, u1_s2.wav, expected the files of 1 source", monkeypatch)


@pytest.mark.parametrize("lacking", [0, 1])
def test_outputs_at_another_rate_are_resampled(data, lacking):
    """Half a sample of the mixture may be lacking: tools round lengths up or down."""
    outputs = stored(data, [f"u{n}.wav" for n in range(4)], rate=2 * RATE, samples=2 * SAMPLES)
    outputs.prepare({"u0": ("mix_0.wav", audio.probe(data / "data" / "mix_0.wav"))}, 1)
    mix = audio.read_mono(data / "data" / "mix_0.wav")[: SAMPLES - lacking]
    assert outputs.estimates("u0", mix, RATE).shape == (SAMPLES - lacking, 1)


def test_outputs_of_two_sources_come_in_the_order_of_their_numbers(tmp_path):
    for name, value in (("a_s1", 0.25), ("a_s2", 0.5)):
        audio.write(tmp_path / f"{name}.wav", np.full(80, value), RATE)
    outputs = StoredOutputs("x", tmp_path)
    outputs.prepare({"a": ("mix.wav", audio.AudioInfo(80, RATE, 1, "PCM_16"))}, 2)
    assert outputs.estimates("a", np.ones(80), RATE)[0].tolist() == [0.25, 0.5]
    with pytest.raises(UserError, match="no output of 1 of 1 items: b. Expected ID_s1.wav and ID_s2.wav"):
        outputs.prepare({"b": ("mix.wav", audio.AudioInfo(80, RATE, 1, "PCM_16"))}, 2)


# ---- the test set of a run
def run_folder(data, **settings):
    (data / "run" / "save").mkdir(parents=True)
    (data / "data" / "test.csv").rename(data / "run" / "save" / "test.csv")
    keys = {"data_folder": str(data / "data"), "task": "ES", **settings}
    text = "".join(f"{key}: {value}\n" for key, value in keys.items())
    (data / "run" / "hyperparams.yaml").write_text(text + "modules:\n    separator: !new:x.Y\n")
    return data / "run"


def test_a_run_folder_or_its_saved_manifest_is_the_test_set(data):
    run = run_folder(data)
    for place in (run, run / "save" / "test.csv"):
        found = open_manifest(place)
        assert found.rows[0]["mix_wav"] == str(data / "data" / "mix_0.wav") and found.task == "ES"
    options = {"metrics": ("si_sdr",), "workers": 0}
    assert evaluate(lambda mix: mix[:, None], 1, RATE, run, data / "out", **options)["n"] == 4


def test_a_run_whose_data_are_elsewhere_needs_the_data_root(data):
    run = run_folder(data, data_folder="/gone")
    with pytest.raises(UserError, match="Add --data-root FOLDER"):
        open_manifest(run)
    assert open_manifest(run, data / "data").rows[0]["s1_wav"] == str(data / "data" / "s1_0.wav")


def test_a_folder_without_a_test_set_says_so(data):
    run = run_folder(data)
    (run / "save" / "test.csv").rename(data / "test.csv")
    with pytest.raises(UserError, match="has no test set, save/test.csv. Give a manifest"):
        open_manifest(run)
    (run / "hyperparams.yaml").write_text(f"save_folder: {data}\ndata_folder: {data / 'data'}\n")
    assert len(open_manifest(run).rows) == 4, "where the recipe saved it"


def test_one_system_alone_leaves_the_rows_of_several(data):
    evaluate_several([Gain("a", 0.01, "A"), Gain("b", 0.1, "B")], items_of(data), data / "out", Asked(("si_sdr",)), 0)
    alone = Gain("a", 0.01, "A")
    evaluate_one(alone, items_of(data), data / "out", Asked(("si_sdr",)), 0)
    both = [Gain("a", 0.01, "A"), Gain("b", 0.1, "B")]
    evaluate_several(both, items_of(data), data / "out", Asked(("si_sdr",)), 0)
    assert [one.asked for one in (alone, *both)] == [[], [], []]
    evaluate_one(Gain("a", 0.01, "A"), items_of(data), data / "alone", Asked(("si_sdr",)), 0)
    assert not (data / "alone" / "scored.jsonl").exists()
