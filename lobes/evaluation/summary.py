"""Means of an evaluation, with everything that was left out counted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from lobes.metrics.directions import better
from lobes.metrics.utterance import INPUT, NUMBERS, TARGET
from lobes.runs.table import columns_of

ROUNDING = 1e-6  # an output that is higher by less is the input
COUNTS = ("wer_words", *(f"wer_errors{of}" for of in ("", INPUT, TARGET)))  # are summed, and have no mean
# A rate is the sum of its errors by the sum of the words of the same rows, never a mean of rates.
RATES = {f"wer{of}": (f"wer_errors{of}", "wer_words") for of in ("", INPUT, TARGET)}
HEADINGS = ("SI-SDR", "SI-SDRi", "SDR", "SDRi", "PESQ", "STOI")


def summarise(rows: Iterable[Mapping[str, Any]], by: str | None = None) -> dict[str, Any]:
    """Summarise the rows of an evaluation.

    Arguments
    ---------
    rows : iterable of dict
        The rows of `lobes.runs.table`.
    by : str, optional
        A condition, such as "variant": its values form groups that count equally in the mean. Without it all rows
        count equally.

    Returns
    -------
    dict, ready for JSON: a number that does not exist is None.
        n: number of rows. failures: {reason: count} over all rows, without the place in brackets.
        improved_share: share of the finite si_sdri above zero, over all rows. counted: {metric: number of finite
        values}. mean: {metric: mean over the rows, or the unweighted mean of the groups' means}. against_input:
        {metric: {n, input, output, improved}} over the rows in which both have the number: means as in `mean`, and the
        share of the outputs that are better (higher; for word errors and distances lower; None where neither is).
        wer: {wer_words, wer_errors, wer_errors_in, wer_errors_target}, sums over all rows that have them, where there
        are such; `mean` and `against_input` hold the sum of the errors by that of the words, groups or not. With `by`
        also grouped_by: its name, groups: {value: {n, <metric>: mean over the finite values, counted, failures,
        improved_share}}, and left_out: {metric: [values of the groups without a value]}, where there are such.

    Example
    -------
    >>> rows = [{"variant": "SER", "si_sdr": 4.0, "status": "ok"}, {"variant": "R", "si_sdr": 2.0, "status": "ok"}]
    >>> summary = summarise(rows, by="variant")
    >>> summary["mean"]["si_sdr"], summary["groups"]["SER"]["n"], summary["mean"]["pesq"]
    (3.0, 1, None)
    """
    rows = list(rows)
    counts, numbers = _split(columns_of(rows)[1])
    summary = {"n": len(rows), **_counts(rows, numbers), "mean": _means(rows, numbers)}
    summary["against_input"] = _against_input(rows, numbers, by)
    if counts:
        summary["wer"] = {name: int(sum(_finite(rows, name))) for name in counts}
    if by is None:
        return summary
    groups = _groups(rows, by)
    parts = {name: _group(groups[name], numbers) for name in sorted(groups)}
    left_out = {metric: [name for name in parts if parts[name][metric] is None] for metric in numbers}
    return {
        **summary,
        "mean": {**_means(parts.values(), numbers), **_rates(rows, numbers)},
        "grouped_by": by,
        "groups": parts,
        "left_out": {metric: names for metric, names in left_out.items() if names},
    }


def format_table(summary: Mapping[str, Any]) -> str:
    """The summary as a text table: a line for each group, one for the mean, then the failures; dB, higher is better.

    Example
    -------
    >>> row = {"variant": "SER", "si_sdr": 4.0, "si_sdri": 3.0, "status": "ok"}
    >>> print(format_table(summarise([row], by="variant")).splitlines()[1])
    SER           1     4.00     3.00        -        -        -        -     100 %       0
    """
    first = summary.get("grouped_by", "")
    head = f"{first:<9} {'n':>5} " + " ".join(f"{name:>8}" for name in HEADINGS) + " improved  failed"
    lines = [head] + [_line(name, part, part["n"]) for name, part in summary.get("groups", {}).items()]
    total = {**summary["mean"], "improved_share": summary["improved_share"], "failures": summary["failures"]}
    lines += [_line("mean", total, summary["n"]), *_lines_of_input(summary), *_lines_of_others(summary)]
    lines += [f"  {count} x {reason}" for reason, count in summary["failures"].items()]
    return "\n".join(lines)


def _line(name: str, part: Mapping[str, Any], n: int) -> str:
    return f"{_cells(name, n, part)} {_percent(part['improved_share']):>9} {sum(part['failures'].values()):>7}"


def _lines_of_input(summary: Mapping[str, Any]) -> list[str]:
    """The input, the output on the same items where these are not all, and the share of items improved."""
    found = summary["against_input"]
    n = max((pair["n"] for pair in found.values()), default=0)
    if not n:
        return []
    of = {key: {metric: pair[key] for metric, pair in found.items()} for key in ("input", "output", "improved")}
    shares = (f"{_percent(of['improved'].get(metric)):>8}" for metric in NUMBERS)
    output = [] if n == summary["n"] else [_cells("output", n, of["output"])]
    return [_cells("input", n, of["input"]), *output, f"{'improved':<9} {'':>5} {' '.join(shares)}"]


def _lines_of_others(summary: Mapping[str, Any]) -> list[str]:
    """Output and input in the measures that have no column above, and what a word error rate is worth."""
    mean, found = summary["mean"], summary["against_input"]
    names = [name for name in mean if name not in NUMBERS and not name.endswith((INPUT, TARGET))]
    lines = [f"{'measure':<20} {'n':>5} {'input':>8} {'output':>8} improved"] if names else []
    for name in names:
        pair = found.get(name, {"n": summary["counted"][name], "output": mean[name]})
        values = (f"{'-' if pair.get(of) is None else f'{pair[of]:.3f}':>8}" for of in ("input", "output"))
        lines.append(f"{name:<20} {pair['n']:>5} {' '.join(values)} {_percent(pair.get('improved')):>8}")
    if mean.get(f"wer{TARGET}") is not None:
        who = f" of {summary['recogniser']}" if summary.get("recogniser") else ""
        lines.append(f"  wer{who}: {mean[f'wer{TARGET}']:.3f} on the targets themselves, so only for differences")
    return lines


def _cells(name: str, n: int, part: Mapping[str, Any]) -> str:
    """The beginning of a line: name, number of items, numbers."""
    digits = {"stoi": 3}
    values = ((part.get(metric), digits.get(metric, 2)) for metric in NUMBERS)
    return f"{name:<9} {n:>5} " + " ".join(f"{'-' if v is None else f'{v:.{d}f}':>8}" for v, d in values)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _split(columns: Iterable[str]) -> tuple[list[str], list[str]]:
    """What is counted, and what has a mean."""
    columns = list(columns)
    return [name for name in columns if name in COUNTS], [name for name in columns if name not in COUNTS]


def _rates(rows: Iterable[Mapping[str, Any]], numbers: Iterable[str]) -> dict[str, float | None]:
    """The rates among the numbers."""
    return {name: _rate(rows, *RATES[name]) for name in numbers if name in RATES}


def _rate(rows: Iterable[Mapping[str, Any]], errors: str, words: str) -> float | None:
    """Errors by words, over the rows that have both."""
    both = [row for row in rows if _finite([row], errors) and _finite([row], words)]
    return sum(_finite(both, errors)) / sum(_finite(both, words)) if both else None


def _against_input(rows: list[Mapping[str, Any]], numbers: Iterable[str], by: str | None) -> dict[str, dict[str, Any]]:
    """Output and input where both have a number, groups with equal weight in the means."""
    found = {}
    for metric in (number.removesuffix(INPUT) for number in numbers if number.endswith(INPUT)):
        both = [row for row in rows if _finite([row], metric) and _finite([row], metric + INPUT)]
        parts = _groups(both, by).values()
        names = (metric, metric + INPUT)
        of = {name: _mean([fmean(_finite(part, name)) for part in parts]) for name in names}
        of.update(_rates(both, names))
        sign = better(metric)
        share = _mean([float(sign * (row[metric] - row[metric + INPUT]) > ROUNDING) for row in both if sign])
        found[metric] = {"n": len(both), "input": of[metric + INPUT], "output": of[metric], "improved": share}
    return {metric: pair for metric, pair in found.items() if pair["n"]}


def _groups(rows: Iterable[Mapping[str, Any]], by: str | None) -> dict[str, list[Mapping[str, Any]]]:
    """The rows by the value of a condition; all in one group without it."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault("" if by is None else str(row[by]), []).append(row)
    return groups


def _group(rows: list[Mapping[str, Any]], numbers: Iterable[str]) -> dict[str, Any]:
    return {"n": len(rows), **_means(rows, numbers), **_counts(rows, numbers)}


def _means(rows: Iterable[Mapping[str, Any]], numbers: Iterable[str]) -> dict[str, float | None]:
    rows, numbers = list(rows), list(numbers)
    rates = _rates(rows, numbers) if any("wer_words" in row for row in rows) else {}
    return {**{metric: _mean(_finite(rows, metric)) for metric in numbers}, **rates}


def _counts(rows: list[Mapping[str, Any]], numbers: Iterable[str]) -> dict[str, Any]:
    counted = {metric: len(_finite(rows, metric)) for metric in numbers}
    return {"counted": counted, "failures": _failures(rows), "improved_share": _improved(rows)}


def _finite(rows: Iterable[Mapping[str, Any]], metric: str) -> list[float]:
    values = (row.get(metric) for row in rows)
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _improved(rows: Iterable[Mapping[str, Any]]) -> float | None:
    return _mean([float(gain > ROUNDING) for gain in _finite(rows, "si_sdri")])


def _failures(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the items under each reason; the two sources of one item are one failure."""
    counter: Counter[str] = Counter()
    for row in rows:
        status = re.sub(r" \([^)]*\)", "", str(row.get("status") or "ok"))
        counter.update(set(status.split("; ")) - {"ok"})
    return dict(sorted(counter.items()))
