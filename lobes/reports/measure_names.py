"""How measures are written on a page: heading, unit, digits, and which way is better."""

from __future__ import annotations

from lobes.metrics.directions import better
from lobes.reports.differences import DIGITS

HEADINGS = {
    "si_sdr": "SI-SDR",
    "si_sdri": "SI-SDRi",
    "sdr": "SDR",
    "sdri": "SDRi",
    "snr": "SNR",
    "ssnr": "segmental SNR",
    "lsd": "LSD",
    "pesq": "PESQ",
    "pesq_nb": "PESQ narrow band",
    "pesq_wb": "PESQ wide band",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "csig": "CSIG",
    "cbak": "CBAK",
    "covl": "COVL",
    "dnsmos_sig": "DNSMOS SIG",
    "dnsmos_bak": "DNSMOS BAK",
    "dnsmos_ovrl": "DNSMOS OVRL",
    "dnsmos_p808": "DNSMOS P.808",
    "wer": "WER",
    "cer": "CER",
    "speech_false_alarm": "false alarms of speech",
    "speech_missed": "missed speech",
}
IN_DB = {"si_sdr", "si_sdri", "sdr", "sdri", "snr", "ssnr", "lsd"}


def heading(measure: str) -> str:
    """The measure as papers write it; a name that is not known stays as it is.

    Example
    -------
    >>> heading("pesq_wb"), heading("loudness")
    ('PESQ wide band', 'loudness')
    """
    return HEADINGS.get(measure, measure)


def with_unit(measure: str) -> str:
    """The heading with its unit, if it has one.

    Example
    -------
    >>> with_unit("si_sdri"), with_unit("stoi")
    ('SI-SDRi in dB', 'STOI')
    """
    return heading(measure) + (" in dB" if measure in IN_DB else "")


def digits(measure: str) -> int:
    """Digits after the point."""
    return DIGITS.get(measure, 2)


def direction(measure: str) -> str:
    """Which way is better, in words.

    Example
    -------
    >>> direction("wer"), direction("pesq")
    ('lower is better', 'higher is better')
    """
    return "lower is better" if better(measure) < 0 else "higher is better"


def upwards(measure: str) -> int:
    """1, or -1 for a measure in which lower is better: a difference times this is above zero where it is good."""
    return -1 if better(measure) < 0 else 1


def listed(words: list[str]) -> str:
    """Words as a list in a sentence.

    Example
    -------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
