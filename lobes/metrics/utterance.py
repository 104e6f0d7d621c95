"""Score one separated utterance: every metric is a true number, or NaN with a status that says why.

Legend: T samples, S sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lobes.errors import UserError, did_you_mean
from lobes.metrics import activity, dnsmos, log_spectra, measures, own
from lobes.metrics.words import Transcripts, word_errors

METRICS = ("si_sdr", "sdr", "pesq", "stoi")
NUMBERS = ("si_sdr", "si_sdri", "sdr", "sdri", "pesq", "stoi")
# Computed where they are asked for: metric -> its numbers.
EXTRA = {
    "estoi": ("estoi",),
    "ssnr": ("ssnr",),
    "snr": ("snr",),
    "lsd": ("lsd",),
    "pesq_nb": ("pesq_nb",),
    "pesq_wb": ("pesq_wb",),
    "composite": ("csig", "cbak", "covl", "csig_float", "cbak_float", "covl_float"),
    "dnsmos": ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"),
    "speech_activity": ("speech_activity", "speech_false_alarm", "speech_missed"),
    "wer": ("wer", "wer_errors", "wer_words", "wer_target", "wer_errors_target"),
}
GAINED = ("si_sdr", "sdr")  # in dB, so that a gain over the input, si_sdri, is a number of its own
WITHOUT_RATE = (*GAINED, "snr")
FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray, int], Any]] = {
    "composite": measures.composites,
    "dnsmos": dnsmos.of_estimate,
    "speech_activity": activity.of_estimate,
    "lsd": log_spectra.lsd,
}  # those that are not in `measures` by their own name
INPUT, TARGET = "_in", "_target"  # end the name of a number of the input, or of the target: si_sdr_in
LOWER_IS_BETTER = {"wer", "cer", "lsd", "speech_false_alarm", "speech_missed"}
NEITHER_IS_BETTER = {"speech_activity", "wer_errors", "wer_words", "wer_target", "wer_errors_target"}
NOT_OF_INPUT = ("si_sdri", "sdri", "wer_words", "wer_target", "wer_errors_target")
SILENT_SHARE = 1e-6  # a target 60 dB below the mixture, or zero, is silent (as in the separation loss)


def score(
    estimates: np.ndarray,
    targets: np.ndarray,
    mix: np.ndarray,
    sample_rate: int,
    metrics: Sequence[str] = METRICS,
    improvement: bool = True,
    inputs: Mapping[str, float] | None = None,
    transcripts: Transcripts = Transcripts(),  # noqa: B008
) -> dict[str, Any]:
    """Score the estimates of one utterance against its targets, after the best permutation by SI-SDR.

    Each number is the mean over the sources, and NaN where one source has no value. SI-SDR removes the
    means of all signals, for the estimates and for the mixture alike; SDR (torchmetrics) leaves them in. dB
    values are kept within -100 and 100. `si_sdri` and `sdri` are the gain over the mixture taken as the
    estimate of each target.

    Arguments
    ---------
    estimates, targets : array [T,S]
    mix : array [T]
    sample_rate : int
        In Hz; PESQ is narrow band at 8000, wide band at 16000 and not defined elsewhere.
    metrics : sequence of str
        Which of si_sdr, sdr, pesq, stoi to compute; the others stay NaN and are no failure. Also estoi, ssnr (segmental
        SNR in dB) and composite (csig, cbak, covl by Loizou's definition; with `_float` at the end as in the tool
        that many papers used, see `lobes.metrics.composite`), snr, lsd, pesq_nb, pesq_wb, dnsmos, speech_activity and
        wer (docs/metrics.md), and functions of your own, `package.module:function`, see `lobes.metrics.own`.
    improvement : bool
        False where the mixture is the target: si_sdri, sdri and the numbers of the input then stay NaN.
    inputs : mapping, optional
        Score the mixture, too, as the estimate of each target: the row then has `si_sdr_in`, `pesq_in` and so on. What
        it holds of these numbers is taken and not computed again, but for functions of your own; empty, all are
        computed.
    transcripts : Transcripts, optional
        For wer: the texts of the sources, in the order of the targets, and the recogniser.

    Returns
    -------
    dict
        si_sdr, si_sdri, sdr, sdri, pesq, stoi and the others asked for: floats. status: "ok", or the
        reasons, joined by "; ", each "<reason> (<where>)". The whole item is NaN for "non-finite estimate",
        "non-finite target", "non-finite mixture", "silent target" and "silent estimate"; "silent mixture" and
        "<metric>: <reason>" concern one metric, "input <metric>: <reason>" the input's alone.

    Raises
    ------
    UserError
        Where the shapes do not fit together, or a metric is unknown.

    Example
    -------
    >>> targets = np.random.default_rng(0).standard_normal((8000, 2))
    >>> row = score(targets[:, ::-1], targets, targets.sum(1), 8000, metrics=("si_sdr",))
    >>> row["si_sdr"], row["status"]
    (100.0, 'ok')
    """
    check_metrics(metrics)
    _check_shapes(estimates, targets, mix)
    wanted = numbers_of(metrics)
    row: dict[str, Any] = dict.fromkeys(wanted if inputs is None else (*wanted, *inputs_of(wanted)), math.nan)
    estimates, targets, mix = (np.asarray(x, np.float64) for x in (estimates, targets, mix))
    reason = _unfit(estimates, targets, mix)
    if reason:
        return {**row, "status": reason}
    estimates = estimates[:, best_order(estimates, targets)]
    mixtures = np.repeat(mix[:, None], targets.shape[1], axis=1)  # [T,S]
    silent = not measures.at_unit_peak(mix).any()
    reasons: list[str] = []
    for name in dict.fromkeys(metrics):
        if name == "wer":
            continue
        values, why = _numbers(name, estimates, targets, sample_rate)
        row.update(values)
        reasons += why
        if not improvement or (inputs is None and name not in GAINED):
            continue
        if silent:
            reasons.append("silent mixture")
            continue
        before, more = _of_input(name, mixtures, targets, sample_rate, inputs or {})
        reasons += [] if why else [f"input {reason}" for reason in more]
        if name in GAINED:
            row[f"{name}i"] = values[name] - before[name]
        if inputs is not None:
            row.update({number + INPUT: value for number, value in before.items()})
    if "wer" in metrics:
        with_input = {INPUT: mixtures} if improvement and inputs is not None else {}
        signals = {"": estimates, TARGET: targets, **with_input}
        values, why = _words(signals, sample_rate, transcripts, inputs or {})
        row.update(values)
        reasons += why
    return {**row, "status": "; ".join(dict.fromkeys(reasons)) or "ok"}


def numbers_of(metrics: Sequence[str]) -> tuple[str, ...]:
    """The numbers that a row holds for these metrics: the six always, the others where they are asked for.

    Example
    -------
    >>> numbers_of(["pesq", "ssnr"])
    ('si_sdr', 'si_sdri', 'sdr', 'sdri', 'pesq', 'stoi', 'ssnr')
    """
    extra = (number for name, numbers in EXTRA.items() if name in metrics for number in numbers)
    return (*NUMBERS, *extra, *(own.column_of(name) for name in metrics if own.is_own(name)))


def inputs_of(numbers: Sequence[str]) -> tuple[str, ...]:
    """The numbers that the input has, too: all but the gains over it.

    Example
    -------
    >>> inputs_of(["si_sdr", "si_sdri", "pesq"])
    ('si_sdr_in', 'pesq_in')
    """
    return tuple(name + INPUT for name in numbers if name not in NOT_OF_INPUT)


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse metrics that `score` does not know, before anything is computed.

    Raises
    ------
    UserError
        Unknown name, a function of one's own that cannot be imported, or two metrics with one column.

    Example
    -------
    >>> check_metrics(["si_sdr", "lobes.metrics.measures:si_sdr"])
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: metric lobes.metrics.measures:si_sdr: its column si_sdr is taken. Rename the function.
    """
    known = (*METRICS, *EXTRA)
    taken = {"id", "status", *numbers_of(list(EXTRA)), *inputs_of(numbers_of(list(EXTRA)))}
    for name in dict.fromkeys(metrics):
        if own.is_own(name):
            own.load(name)
            if own.column_of(name) in taken:
                column = own.column_of(name)
                raise UserError(f"metric {name}: its column {column} is taken. Rename the function.")
            taken.add(own.column_of(name))
        elif name not in known:
            raise UserError(f"Unknown metric {name!r}; known are {', '.join(known)}.{did_you_mean(name, known)}")


def best_order(estimates: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """For each target the index of its estimate, such that the sum of the SI-SDR is the largest."""
    if targets.shape[1] == 1:
        return np.zeros(1, int)
    sources = range(targets.shape[1])
    from scipy.optimize import linear_sum_assignment

    pairs = [[measures.si_sdr(estimates[:, i], targets[:, j]) for i in sources] for j in sources]
    return linear_sum_assignment(np.array(pairs), maximize=True)[1]


def _numbers(
    name: str, estimates: np.ndarray, targets: np.ndarray, sample_rate: int
) -> tuple[dict[str, float], list[str]]:
    """One metric's numbers as means over the sources, and the reasons for NaN."""
    values, reasons = _per_source(name, _function(name, sample_rate), estimates, targets)
    columns = _columns(name)
    values = [value if isinstance(value, dict) else {columns[0]: value} for value in values]
    return {c: math.nan if reasons else float(np.mean([v[c] for v in values])) for c in columns}, reasons


def _columns(name: str) -> tuple[str, ...]:
    return EXTRA.get(name, (own.column_of(name) if own.is_own(name) else name,))


def _words(
    signals: dict[str, np.ndarray], sample_rate: int, transcripts: Transcripts, known: Mapping[str, float]
) -> tuple[dict[str, float], list[str]]:
    """The word errors of output, target and input; what is known of the last two is taken."""
    columns = {ending: (f"wer{ending}", f"wer_errors{ending}") for ending in signals}
    there = {ending for ending in columns if ending and all(name in known for name in columns[ending])}
    asked = {ending: x for ending, x in signals.items() if ending not in there}
    values, reasons = word_errors(asked, sample_rate, transcripts)
    return {**values, **{name: known[name] for ending in there for name in columns[ending]}}, reasons


def _of_input(
    name: str, mixtures: np.ndarray, targets: np.ndarray, sample_rate: int, known: Mapping[str, float]
) -> tuple[dict[str, float], list[str]]:
    """The same for the mixture in the place of each estimate; what is known of it is taken."""
    columns = _columns(name)
    if not own.is_own(name) and all(column + INPUT in known for column in columns):
        return {column: known[column + INPUT] for column in columns}, []
    return _numbers(name, mixtures, targets, sample_rate)


def _function(name: str, sample_rate: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    if name in WITHOUT_RATE:
        return getattr(measures, name)
    if own.is_own(name):
        function = own.load(name)
        return lambda estimate, target: measures.finite(float(function(estimate, target, sample_rate)))
    measure = FUNCTIONS.get(name) or getattr(measures, name)
    return lambda estimate, target: measure(estimate, target, sample_rate)


def _per_source(
    name: str, function: Callable[[np.ndarray, np.ndarray], Any], estimates: np.ndarray, targets: np.ndarray
) -> tuple[list[Any], list[str]]:
    """The value of each source that has one, and the reasons of the others, whatever the library raised."""
    values, reasons = [], []
    for source in range(targets.shape[1]):
        try:
            values.append(function(estimates[:, source], targets[:, source]))
        except measures.MetricError as error:
            reasons.append(f"{name}: {error} (source {source + 1})")
        except Exception as error:  # libraries raise what they like; one item must not end an evaluation
            kind = type(error).__name__.removesuffix("Error").lstrip("_")
            reasons.append(f"{name}: {kind} (source {source + 1})")
    return values, reasons


def _unfit(estimates: np.ndarray, targets: np.ndarray, mix: np.ndarray) -> str:
    """The reason for which no metric can be computed, or nothing."""
    for name, x in (("estimate", estimates), ("target", targets), ("mixture", mix[:, None])):
        bad = np.argwhere(~np.isfinite(x))
        if len(bad):
            return f"non-finite {name} (first at sample {bad[0][0]}, source {bad[0][1] + 1})"
    loudness = np.square(mix).sum()
    for source, target in enumerate(targets.T):
        quiet = np.square(target - target.mean()).sum() <= SILENT_SHARE * loudness
        if quiet or not measures.at_unit_peak(target).any():
            return f"silent target (source {source + 1})"
    for source, estimate in enumerate(estimates.T):
        if not measures.at_unit_peak(estimate).any():
            return f"silent estimate (source {source + 1})"
    return ""


def _check_shapes(estimates: np.ndarray, targets: np.ndarray, mix: np.ndarray) -> None:
    shapes = [np.shape(x) for x in (estimates, targets, mix)]
    if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[2] != shapes[1][:1] or 0 in shapes[0]:
        raise UserError(
            "Expected estimates and targets [samples, sources] of one shape and a mixture [samples], got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}. Score signals of one length, one estimate per target."
        )
