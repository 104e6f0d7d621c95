"""Word errors: what a recogniser hears in the output, in the input and in the target, counted against the text.

Errors are substitutions, deletions and insertions of the alignment with the fewest, counted by jiwer. A rate of many
utterances is the sum of their errors by the sum of their words: `lobes.evaluation.summary`. T samples, S sources.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lobes.metrics.measures import MetricError
from lobes.metrics.onnx_models import not_installed

Recognise = Callable[[np.ndarray, int], str]  # a signal [T] in float32 and its rate in Hz to its text
APOSTROPHES = "'\u2019\u02bc"


class Transcripts(NamedTuple):
    """What is said in an utterance, and who listens."""

    texts: Sequence[str] = ()  # of each source
    recognise: Recognise | None = None


def words_of(text: str) -> list[str]:
    """The words that are compared: Unicode NFKC, lower case, without apostrophes; other signs separate words.

    Letters, their accents and digits stay. Numbers are not spelt out.

    Example
    -------
    >>> words_of("Don't STOP\u2014caf\u00e9 at 5:30!")
    ['dont', 'stop', 'caf\u00e9', 'at', '5', '30']
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    kept = (one for one in text if one not in APOSTROPHES)
    return "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in kept).split()


def errors_in(heard: str, text: str) -> tuple[int, int]:
    """Word errors of what was heard, and the number of words of the text.

    Raises
    ------
    MetricError
        If the text has no words, or jiwer is missing.

    Example
    -------
    >>> errors_in("the cat sat down on mat", "The cat sat on the mat.")
    (2, 6)
    """
    reference, hypothesis = words_of(text), words_of(heard)
    if not reference:
        raise MetricError("no words in the text")
    try:
        import jiwer
    except ImportError as error:
        raise not_installed("jiwer", "asr") from error
    if not hypothesis:
        return len(reference), len(reference)
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return found.substitutions + found.deletions + found.insertions, len(reference)


def word_errors(
    signals: dict[str, np.ndarray], sample_rate: int, transcripts: Transcripts
) -> tuple[dict[str, float], list[str]]:
    """Errors and rates of some signals over all their sources, and the reasons for what is missing.

    Arguments
    ---------
    signals : dict of array [T,S]
        Ending of the names of a signal's numbers -> the signal: "" for the output.
    sample_rate : int
        In Hz.
    transcripts : Transcripts
        Texts of the S sources.

    Returns
    -------
    dict, list of str
        For an ending x: werx, wer_errorsx; once: wer_words.

    Example
    -------
    >>> heard = Transcripts(["one two three"], lambda wave, rate: "one too three four")
    >>> word_errors({"": np.zeros((8, 1))}, 8000, heard)
    ({'wer_words': 3.0, 'wer_errors': 2.0, 'wer': 0.6666666666666666}, [])
    """
    values: dict[str, float] = {}
    reasons: list[str] = []
    for ending, x in signals.items():
        try:
            errors, words = np.sum([_heard(x, s, sample_rate, transcripts) for s in range(x.shape[1])], 0)
        except MetricError as error:
            reasons.append(f"wer{ending}: {error}")
        except Exception as error:  # a recogniser raises what it likes; one item must not end an evaluation
            reasons.append(f"wer{ending}: {type(error).__name__}")
        else:
            counts = {"wer_words": words, f"wer_errors{ending}": errors, f"wer{ending}": errors / words}
            values.update({name: float(value) for name, value in counts.items()})
    return values, reasons


def _heard(x: np.ndarray, source: int, sample_rate: int, transcripts: Transcripts) -> tuple[int, int]:
    texts, recognise = transcripts
    if recognise is None or source >= len(texts) or not texts[source]:
        raise MetricError(f"no text (source {source + 1})")
    heard = recognise(np.ascontiguousarray(x[:, source], np.float32), sample_rate)
    if not isinstance(heard, str):
        raise MetricError(f"the recogniser gave a {type(heard).__name__}, expected text")
    return errors_in(heard, texts[source])
