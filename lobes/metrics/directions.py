"""Which way a measure is better and what it can be, by its name: our measures, and those of other tools' tables."""

from __future__ import annotations

import re
from math import inf

from lobes.metrics.utterance import EXTRA, INPUT, LOWER_IS_BETTER, NEITHER_IS_BETTER, NUMBERS

OURS = {*NUMBERS, *(number for numbers in EXTRA.values() for number in numbers), *LOWER_IS_BETTER}
OF_THE_INPUT = "snr"  # the ratio that a mixture was made with is called SNR at least as often as a measure is
# Other measures are better where they are lower if a word of their name is one of these, but for gains in them.
LOWER_WORDS = {
    "wer", "cer", "dwer", "mer", "wil", "eer", "der", "error", "errors", "loss", "distance", "divergence", "lsd", "mcd",
    "llr", "wss", "mse", "rmse", "mae", "fad", "latency", "rtf", "missed", "alarm", "alarms",
}  # fmt: skip
GAIN_WORDS = {"gain", "gains", "improvement", "reduction", "ratio"}
OPINIONS = {"pesq", "pesq_wb", "pesq_nb", "csig", "cbak", "covl"}
CORRELATIONS = {"stoi", "estoi"}
RATES_AND_DISTANCES = {"wer", "lsd"}


def our_name(name: str) -> str:
    """The name that a measure has here: other tools write `WER` or `SI-SDR`; what is not known stays as it is.

    Example
    -------
    >>> our_name("WER"), our_name("SI-SDR"), our_name("Pesq_WB_in"), our_name("SNR"), our_name("NISQA")
    ('wer', 'si_sdr', 'pesq_wb_in', 'SNR', 'NISQA')
    """
    plain = re.sub(r"[\s_-]+", "_", name).strip("_").lower()
    measure = plain.removesuffix(INPUT)
    return plain if measure in OURS and measure != OF_THE_INPUT else name


def better(measure: str) -> int:
    """1 where higher is better, -1 where lower is, and 0 where neither is.

    Example
    -------
    >>> better("pesq"), better("lsd"), better("speech_activity"), better("WER whisper"), better("SpectralDistance")
    (1, -1, 0, -1, -1)
    >>> better("wer_reduction"), better("loudness")
    (1, 1)
    """
    if measure in OURS:
        return 0 if measure in NEITHER_IS_BETTER else -1 if measure in LOWER_IS_BETTER else 1
    words = {word.lower() for word in re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", measure))}
    return -1 if words & LOWER_WORDS and not words & GAIN_WORDS else 1


def limits(measure: str) -> tuple[float, float]:
    """The least and the highest value that one of our measures can have; infinite where there is none.

    Example
    -------
    >>> limits("wer"), limits("pesq_in"), limits("stoi"), limits("si_sdr")
    ((0.0, inf), (-0.5, 5.0), (-1.0, 1.0), (-inf, inf))
    """
    name = measure.removesuffix(INPUT).removesuffix("_float")
    if name in OPINIONS:
        return -0.5, 5.0  # other tools may write the raw scores of P.862
    if name in CORRELATIONS:
        return -1.0, 1.0
    return (0.0 if name in RATES_AND_DISTANCES else -inf), inf
