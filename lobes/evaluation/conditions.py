"""What utterances are grouped by in tables: level of the input, length, and overlap, as bins in words.

A bin is a text such as `0 to 5 dB`, so that no table takes it for a measure. T samples, S sources.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lobes.data.tables import plain_number
from lobes.metrics.measures import si_sdr

INPUT_SNR, DURATION, OVERLAP = "input_snr", "duration", "overlap"
SNR_EDGES = (-10, -5, 0, 5, 10, 15, 20)  # dB
DURATION_EDGES = (1, 2, 3, 5, 10, 20)  # seconds
OVERLAP_EDGES = (20, 40, 60, 80)  # per cent of the time
SNR_COLUMN = re.compile(r"((input|mix|mixture)_?)?snr(_?db)?", re.IGNORECASE)  # of a manifest
FRAME_S = 0.02
FLOOR = 1e-4  # a source is active where it is less than 40 dB below its loudest frame
BIN = re.compile(r"(below )?(-?\d+(?:\.\d+)?)( to -?\d+(?:\.\d+)?)? \S+( and above)?")


def signal_conditions(
    mix: np.ndarray, targets: np.ndarray, sample_rate: int, row: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """What an utterance's signals, and its row of the manifest, say of it.

    Arguments
    ---------
    mix : array [T]
    targets : array [T,S]
    sample_rate : int
        In Hz.
    row : mapping, optional
        Of the manifest: a column `snr`, `SNR`, `snr_db`, `input_snr` ... with a number of dB counts instead of the
        SI-SDR of the mixture against its targets (their mean).

    Returns
    -------
    dict of str to str
        `input_snr`, `duration` and, with several sources, `overlap`: the share of the time in which at least two
        sources are active. Signals that are silent or not finite have no level.

    Example
    -------
    >>> hiss = np.random.default_rng(0).standard_normal((32000, 2))
    >>> signal_conditions(hiss.sum(1), hiss, 8000)
    {'input_snr': '-5 to 0 dB', 'duration': '3 to 5 s', 'overlap': '80 % and above'}
    """
    level = _level(mix, targets, row or {})
    found = {} if level is None else {INPUT_SNR: bin_of(level, SNR_EDGES, "dB")}
    found[DURATION] = bin_of(len(mix) / sample_rate, DURATION_EDGES, "s")
    if targets.shape[1] > 1:
        found[OVERLAP] = bin_of(100 * overlap(targets, sample_rate), OVERLAP_EDGES, "%")
    return found


def bin_of(value: float, edges: Sequence[float], unit: str) -> str:
    """The bin that a value lies in; a bin holds its lower edge.

    Example
    -------
    >>> [bin_of(value, (0, 5), "dB") for value in (-1, 0, 5)]
    ['below 0 dB', '0 to 5 dB', '5 dB and above']
    """
    place = bisect_right(edges, value)
    if place == 0:
        return f"below {edges[0]:g} {unit}"
    if place == len(edges):
        return f"{edges[-1]:g} {unit} and above"
    return f"{edges[place - 1]:g} to {edges[place]:g} {unit}"


def in_order(values: Sequence[str]) -> list[str]:
    """Values of a condition as a reader expects them: bins by their edges, other words by the alphabet.

    Example
    -------
    >>> in_order(["10 to 15 dB", "5 to 10 dB", "below -5 dB", "-5 to 0 dB"])
    ['below -5 dB', '-5 to 0 dB', '5 to 10 dB', '10 to 15 dB']
    """

    def place(value: str) -> tuple[bool, float, bool, str]:
        found = BIN.fullmatch(value)
        return (False, float(found[2]), not found[1], value) if found else (True, 0.0, True, value)

    return sorted(values, key=place)


def overlap(sources: np.ndarray, sample_rate: int) -> float:
    """The share of the time in which at least two of the sources [T,S] are active, by their energy in frames of 20 ms.

    Example
    -------
    >>> one, two = np.ones(8000), np.repeat([1.0, 0.0], 4000)
    >>> overlap(np.stack([one, two], 1), 8000)
    0.5
    """
    samples = min(len(sources), max(1, round(FRAME_S * sample_rate)))
    frames = len(sources) // samples
    power = np.square(sources[: frames * samples], dtype=np.float64).reshape(frames, samples, -1).sum(1)  # [L,S]
    active = (power > FLOOR * power.max(0)) & (power > 0)
    return float((active.sum(1) >= 2).mean())


def _level(mix: np.ndarray, targets: np.ndarray, row: Mapping[str, Any]) -> float | None:
    stated = _stated(row)
    if stated is not None:
        return stated
    if not (np.isfinite(mix).all() and np.isfinite(targets).all() and mix.any() and targets.any(0).all()):
        return None
    return float(np.mean([si_sdr(mix.astype(np.float64), target.astype(np.float64)) for target in targets.T]))


def _stated(row: Mapping[str, Any]) -> float | None:
    """The SNR that a manifest's row holds as a number."""
    for column, cell in row.items():
        if SNR_COLUMN.fullmatch(column) and cell not in (None, ""):
            try:
                value = float(plain_number(re.sub(r"\s*dB$", "", str(cell), flags=re.IGNORECASE)))
            except ValueError:
                continue
            if math.isfinite(value):
                return value
    return None
