"""Word errors: the text that is compared, the counts by hand and by jiwer, and a status for what is missing."""

import sys

import jiwer
import numpy as np
import pytest

from lobes.metrics import score
from lobes.metrics.words import Transcripts, errors_in, words_of

RATE = 8000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD!", "hello world"),
        ("don\u2019t can't", "dont cant"),
        (
            "Za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105\u2014ja\u017a\u0144",
            "za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144",
        ),
        ("\ufb01sh \uff11\uff12", "fish 12"),  # NFKC
        ("cafe\u0301", "caf\u00e9"),
        (" - ", ""),
    ],
)
def test_words_that_are_compared(text, words):
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("heard", "text", "errors"),
    [
        ("", "one two", 2),  # two deletions
        ("one two", "one two", 0),
        ("one and two", "one two", 1),  # an insertion
        ("a b c d", "a x c", 2),
        ("five six seven", "one", 3),
    ],
)
def test_errors_by_hand(heard, text, errors):
    assert errors_in(heard, text) == (errors, len(text.split()))


def test_errors_equal_jiwers_rate():
    rng, words = np.random.default_rng(0), np.array("a b c d e".split())
    for _ in range(50):
        text, heard = (" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(2))
        errors, count = errors_in(heard, text)
        assert errors / count == pytest.approx(jiwer.wer(text, heard))


def by_level(wave, rate):
    """A recogniser that hears a word by the largest sample."""
    return {1: "one", 2: "two", 3: "three of them"}.get(round(float(np.abs(wave).max())), "what")


@pytest.fixture
def signals():
    """Two sources with peaks of 1 and 2, and estimates in the other order, of which one is heard as something else."""
    rng = np.random.default_rng(0)
    targets = np.stack(
        [peak * x / np.abs(x).max() for peak, x in zip((1, 2), rng.standard_normal((2, 4000)), strict=True)], 1
    )
    estimates = np.stack([targets[:, 1], 3 * targets[:, 0]], 1)
    return estimates, targets, 7 * targets.sum(1)


def test_texts_follow_the_targets(signals):
    row = score(*signals, RATE, ["wer"], inputs={}, transcripts=Transcripts(["one", "two"], by_level))
    assert row["status"] == "ok" and row["wer_words"] == 2
    assert (row["wer_errors"], row["wer"]) == (3, 1.5)  # "three of them" for "one"; "two" is right
    assert (row["wer_errors_target"], row["wer_target"]) == (0, 0)
    assert (row["wer_errors_in"], row["wer_in"]) == (2, 1)


def test_input_and_targets_that_are_known_are_not_heard_again(signals):
    known = {"wer_in": 0.5, "wer_errors_in": 1.0, "wer_target": 0.25, "wer_errors_target": 0.5}
    calls = []
    heard = Transcripts(["one", "two"], lambda wave, rate: calls.append(rate) or "one")
    row = score(*signals, RATE, ["wer"], inputs=known, transcripts=heard)
    assert len(calls) == 2 and {name: row[name] for name in known} == known


@pytest.mark.parametrize(
    ("transcripts", "reason"),
    [
        (Transcripts(), "no text (source 1)"),
        (Transcripts(["one", ""], by_level), "no text (source 2)"),
        (Transcripts(["...", "two"], by_level), "no words in the text"),
        (Transcripts(["one", "two"], lambda wave, rate: None), "the recogniser gave a NoneType, expected text"),
        (Transcripts(["one", "two"], lambda wave, rate: 1 / 0), "ZeroDivisionError"),
    ],
)
def test_what_is_missing_is_a_status(signals, transcripts, reason):
    row = score(*signals, RATE, ["wer", "si_sdr"], transcripts=transcripts)
    assert row["status"] == f"wer: {reason}; wer_target: {reason}" and np.isnan(row["wer"])
    assert row["si_sdr"] > 50


def test_a_missing_package_is_a_status(signals, monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    row = score(*signals, RATE, ["wer"], transcripts=Transcripts(["one", "two"], by_level))
    assert row["status"].startswith('wer: jiwer is not installed, get it by pip install "path/to/clone[asr]"')


def test_no_input_where_the_mixture_is_the_target(signals):
    row = score(*signals, RATE, ["wer"], False, inputs={}, transcripts=Transcripts(["one", "two"], by_level))
    assert np.isnan(row["wer_in"]) and row["wer"] == 1.5 and row["status"] == "ok"
