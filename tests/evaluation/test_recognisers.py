"""Recognisers by name: pocketsphinx, a factory, a folder of SpeechBrain; mistakes are one line before anything runs."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.evaluation.inputs import shared_in
from lobes.evaluation.job import ScoreJob, score_job
from lobes.evaluation.recognisers import check_recogniser, load_recogniser
from lobes.metrics.measures import MetricError

CLIP = "speech/ljspeech/valid/LJ/LJ001-0002.flac"  # "in being comparatively modern."


@pytest.fixture(autouse=True)
def forget():
    load_recogniser.cache_clear()


def test_pocketsphinx_hears_the_same_whatever_came_before(realdata):
    pytest.importorskip("pocketsphinx")
    wave, rate = audio.read_mono_with_rate(realdata / CLIP)
    first = load_recogniser("pocketsphinx")(wave, rate)
    load_recogniser.cache_clear()
    recognise = load_recogniser("pocketsphinx")
    recognise(wave[: len(wave) // 2][::-1].copy(), rate)
    assert recognise(wave, rate) == first and "being comparatively" in first


def test_pocketsphinx_resamples_and_refuses_silence():
    pytest.importorskip("pocketsphinx")
    recognise = load_recogniser("pocketsphinx")
    assert isinstance(recognise(np.random.default_rng(0).standard_normal(800).astype(np.float32) / 9, 8000), str)
    with pytest.raises(MetricError, match="silent"):
        recognise(np.zeros(800, np.float32), 8000)


FACTORY = """
made = []

def factory():
    made.append(1)
    return lambda wave, rate: f"{wave.dtype} {wave.ndim} {rate}"
"""


def test_a_factory_is_called_once(tmp_path, monkeypatch):
    (tmp_path / "my_ears.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        assert load_recogniser("my_ears:factory")(np.zeros(9), 16000) == "float32 1 16000"
    assert len(sys.modules["my_ears"].made) == 1


def job(**changes):
    x = np.random.default_rng(0).standard_normal((4000, 1)).astype(np.float32)
    return ScoreJob("a", x, x, x[:, 0], 8000, ("wer", "si_sdr"), improvement=False, **changes)


def test_a_job_says_who_listens(tmp_path, monkeypatch):
    (tmp_path / "my_other_ears.py").write_text("def factory():\n    return lambda wave, rate: 'Hello there'\n")
    monkeypatch.syspath_prepend(tmp_path)
    row = score_job(job(texts=["hello THERE you"], recogniser="my_other_ears:factory"))
    assert (row["wer_errors"], row["wer_words"], row["status"]) == (1, 3, "ok")


def test_a_missing_package_and_a_missing_text_are_a_status(monkeypatch):
    assert score_job(job())["status"] == "wer: no text (source 1); wer_target: no text (source 1)"
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    row = score_job(job(texts=["hello"]))
    assert row["status"].startswith('wer: pocketsphinx is not installed, get it by pip install "path/to/clone[asr]"')
    assert row["si_sdr"] == 100


def test_kept_scores_of_an_input_are_those_of_its_text_and_recogniser(tmp_path, monkeypatch):
    """What is kept of the input and of the targets holds for the same question alone."""
    (tmp_path / "my_kept_ears.py").write_text(
        "def factory():\n    return lambda wave, rate: heard.append(1) or 'a b'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    check_recogniser("my_kept_ears:factory")
    heard = sys.modules["my_kept_ears"].heard = []
    one = replace(job(texts=["a b"], recogniser="my_kept_ears:factory"), improvement=True, score_input=True)
    with shared_in(tmp_path / "kept"):
        rows = [score_job(one)]
        load_recogniser.cache_clear()
        heard.clear()
        rows += [score_job(one), score_job(replace(one, texts=["a c d"]))]
    assert [row["wer_errors_in"] for row in rows] == [row["wer_errors_target"] for row in rows] == [0, 0, 2]
    assert len(heard) == 1  # of the three, only the output is heard again, and it is the target: once


MODEL = """
sample_rate: 8000
encoder: !new:my_asr.Encoder
decoding_function: !name:my_asr.decode
    blank_id: 0
tokenizer: !new:my_asr.Words
modules:
    encoder: !ref <encoder>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        encoder: !ref <encoder>
    paths:
        encoder: encoder.ckpt
"""
CODE = """
import torch

class Encoder(torch.nn.Module):
    def forward(self, wavs, lengths):
        return wavs.abs().mean(1, keepdim=True)

class Words:
    def decode_ids(self, ids):
        return " ".join(["none", "one", "two", "three"][one] for one in ids)

    decode_ndim = decode_ids

def decode(p, lengths, blank_id):
    return [[round(float(one)), 0] for one in p[:, 0]]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "asr").mkdir()
    (tmp_path / "asr" / "hyperparams.yaml").write_text(MODEL)
    torch = pytest.importorskip("torch")
    torch.save({}, tmp_path / "asr" / "encoder.ckpt")
    (tmp_path / "my_asr.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    return str(tmp_path / "asr")


def test_a_folder_of_speechbrain_needs_trust_and_gets_its_own_rate(folder):
    with pytest.raises(UserError, match=r"line 3: it wants to run my_asr.Encoder.*--trust"):
        check_recogniser(folder)
    wave = np.full(1600, 2.0, np.float32)
    heard = load_recogniser(folder, trust=True)(wave, 8000)
    assert "".join(heard.split()) == "twonone"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("whisper", "recogniser whisper: no such folder. Expected pocketsphinx, the folder"),
        ("nowhere:factory", "recogniser nowhere:factory: cannot be imported"),
        ("sys:factory", "recogniser sys:factory: cannot be imported"),
        (".", "recogniser .: no hyperparams.yaml in that folder"),
    ],
)
def test_mistakes(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        check_recogniser(name)
