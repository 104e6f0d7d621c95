"""Speech activity by Silero VAD: how much of a signal is speech, and whether it is where the target speaks. T samples.

The network comes with the package `silero-vad` (MIT). The package itself is not imported, since that sets the number of
torch's threads to one; its rule is written out here, with its default thresholds.

Source: github.com/snakers4/silero-vad, version 6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lobes.metrics.measures import MetricError
from lobes.metrics.onnx_models import at_rate, file_of, remembering, session

RATE = 16000  # Hz, to which all rates but these are resampled
WINDOWS = {8000: 256, 16000: 512}  # rate -> samples of a window; an eighth of that from before is heard with it
STATE = (2, 1, 128)
START, END = 0.5, 0.35  # speech starts at this probability and may end below that one
SHORTEST_SPEECH, SHORTEST_SILENCE, MARGIN = 0.25, 0.1, 0.03  # seconds


def of_estimate(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Shares of the time: speech in the estimate, speech there but not in the target, and the reverse.

    Arguments
    ---------
    estimate, target : array [T]
    sample_rate : int
        In Hz; 8 and 16 kHz are taken as they are, other rates are resampled to 16 kHz.

    Returns
    -------
    dict
        speech_activity, speech_false_alarm and speech_missed, each 0 to 1.

    Raises
    ------
    MetricError
        Silence, less than 32 ms, a rate below 8 kHz, or a package that is not installed.

    Example
    -------
    >>> hiss = np.random.default_rng(0).standard_normal(16000) / 100
    >>> of_estimate(hiss, hiss, 16000)
    {'speech_activity': 0.0, 'speech_false_alarm': 0.0, 'speech_missed': 0.0}
    """
    ours, wanted = (speech_mask(x, sample_rate) for x in (estimate, target))
    shares = (ours.mean(), (ours & ~wanted).mean(), (wanted & ~ours).mean())
    return dict(zip(("speech_activity", "speech_false_alarm", "speech_missed"), map(float, shares), strict=True))


@remembering
def speech_mask(x: np.ndarray, sample_rate: int) -> np.ndarray:
    """Where a signal is speech: bool, one for each sample at the rate of the network."""
    rate = sample_rate if sample_rate in WINDOWS else RATE
    x = at_rate(x, sample_rate, rate)
    mask = np.zeros(len(x), bool)
    for first, last in stretches(probabilities(x, rate), len(x), rate):
        mask[first:last] = True
    return mask


def probabilities(x: np.ndarray, rate: int) -> np.ndarray:
    """The probability of speech in each window of a signal [T] at 8 or 16 kHz; the last window is filled with zeros.

    Raises
    ------
    MetricError
        If the signal is shorter than a window.
    """
    size = WINDOWS[rate]
    if len(x) < size:
        raise MetricError("too short")
    network = session(file_of("silero_vad", "data", "silero_vad.onnx"))
    before, state, found = size // 8, np.zeros(STATE, np.float32), []
    padded = np.pad(x.astype(np.float32), (before, -len(x) % size))
    for start in range(0, len(padded) - before, size):
        part = padded[None, start : start + before + size]
        speech, state = network.run(None, {"input": part, "state": state, "sr": np.array(rate, np.int64)})
        found.append(float(speech[0, 0]))
    return np.array(found)


def stretches(speech: Sequence[float] | np.ndarray, samples: int, rate: int) -> list[tuple[int, int]]:
    """First sample and end of each stretch of speech, from the probabilities of the windows of a signal.

    A stretch starts at 0.5 and ends where 0.35 is first undercut, if 0.5 does not come back within 0.1 s. One of at
    most 0.25 s is none. Each is widened by 0.03 s on both sides; two that would meet share the time between them.

    Example
    -------
    >>> stretches([0.1, 0.9, *[0.6] * 10, *[0.1] * 10], 22 * 512, 16000)
    [(32, 6624)]
    """
    size, found, start, end = WINDOWS[rate], [], None, None
    for place, probability in zip(range(0, len(speech) * size, size), speech, strict=True):
        if probability >= START:
            start, end = place if start is None else start, None
        elif start is not None and probability < END:
            end = place if end is None else end
            if place - end >= SHORTEST_SILENCE * rate:
                found.append((start, end))
                start = end = None
    if start is not None:
        found.append((start, samples))
    return _widened([one for one in found if one[1] - one[0] > SHORTEST_SPEECH * rate], samples, int(MARGIN * rate))


def _widened(found: list[tuple[int, int]], samples: int, margin: int) -> list[tuple[int, int]]:
    starts = [max(0, start - margin) for start, _ in found]
    ends = [min(samples, end + margin) for _, end in found]
    for this, (end, start) in enumerate(
        zip([end for _, end in found], [start for start, _ in found][1:], strict=False)
    ):
        if start - end < 2 * margin:
            ends[this], starts[this + 1] = end + (start - end) // 2, start - (start - end) // 2
    return list(zip(starts, ends, strict=True))
