"""Means of an evaluation, per variant and over the variants, with everything that was left out counted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lobes.metrics.utterance import EXTRA_NUMBERS, NUMBERS

HEADINGS = ("SI-SDR", "SI-SDRi", "SDR", "SDRi", "PESQ", "STOI")


def summarise(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the rows of an evaluation.

    Arguments
    ---------
    rows : iterable of dict
        What `score` returned, with the key `variant` ("all" where there is none).

    Returns
    -------
    dict, ready for JSON: a number that does not exist is None.
        n: number of rows. failures: {reason: count} over all rows, without the place in brackets.
        improved_share: share of the finite si_sdri above zero, over all rows. variants: {variant: {n,
        <metric>: mean over the finite values, counted: {metric: number of those}, failures: {reason:
        count}, improved_share}}. mean: {<metric>: unweighted mean of the variants' means}. A variant
        without a value for a metric is left out (SI-SDRi of PolSESS's variant C in ES and EB, for one), and
        left_out: {metric: [variants]} names it.

    Example
    -------
    >>> summary = summarise([{"variant": "SER", "si_sdr": 4.0, "si_sdri": 3.0, "status": "ok"}])
    >>> summary["mean"]["si_sdri"], summary["variants"]["SER"]["n"], summary["mean"]["pesq"]
    (3.0, 1, None)
    """
    rows = list(rows)
    numbers = present_numbers(rows)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row.get("variant") or "all"), []).append(row)
    variants = {name: _variant(groups[name], numbers) for name in sorted(groups)}
    left_out = {metric: [v for v in variants if variants[v][metric] is None] for metric in numbers}
    return {
        "n": len(rows),
        "failures": _failures(rows),
        "improved_share": _improved(rows),
        "variants": variants,
        "mean": {metric: _mean(_finite(variants.values(), metric)) for metric in numbers},
        "left_out": {metric: names for metric, names in left_out.items() if names},
    }


def present_numbers(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The columns of numbers of a table: the six of every evaluation, then those of enhancement that a row has.

    Example
    -------
    >>> present_numbers([{"ssnr": 3.0}])[-2:]
    ('stoi', 'ssnr')
    """
    found = {name for row in rows for name in row}
    return (*NUMBERS, *(name for name in EXTRA_NUMBERS if name in found))


def format_table(summary: Mapping[str, Any]) -> str:
    """The summary as a text table: a line per variant, one for their mean, then the failures; dB, higher is
    better.

    Arguments
    ---------
    summary : dict
        What `summarise` returned.

    Returns
    -------
    str

    Example
    -------
    >>> row = {"variant": "SER", "si_sdr": 4.0, "si_sdri": 3.0, "status": "ok"}
    >>> print(format_table(summarise([row])).splitlines()[1])
    SER           1     4.00     3.00        -        -        -        -     100 %       0
    """
    head = f"{'variant':<9} {'n':>5} " + " ".join(f"{name:>8}" for name in HEADINGS) + " improved  failed"
    lines = [head] + [_line(name, part, part["n"]) for name, part in summary["variants"].items()]
    total = {**summary["mean"], "improved_share": summary["improved_share"], "failures": summary["failures"]}
    lines.append(_line("mean", total, summary["n"]))
    lines += [f"  {count} x {reason}" for reason, count in summary["failures"].items()]
    return "\n".join(lines)


def _line(name: str, part: Mapping[str, Any], n: int) -> str:
    values = ("-" if part[metric] is None else f"{part[metric]:.2f}" for metric in NUMBERS)
    cells = " ".join(f"{value:>8}" for value in values)
    share = "-" if part["improved_share"] is None else f"{100 * part['improved_share']:.0f} %"
    return f"{name:<9} {n:>5} {cells} {share:>9} {sum(part['failures'].values()):>7}"


def _variant(rows: list[Mapping[str, Any]], numbers: Iterable[str]) -> dict[str, Any]:
    return {
        "n": len(rows),
        **{metric: _mean(_finite(rows, metric)) for metric in numbers},
        "counted": {metric: len(_finite(rows, metric)) for metric in numbers},
        "failures": _failures(rows),
        "improved_share": _improved(rows),
    }


def _finite(rows: Iterable[Mapping[str, Any]], metric: str) -> list[float]:
    values = (row.get(metric) for row in rows)
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _improved(rows: Iterable[Mapping[str, Any]]) -> float | None:
    return _mean([float(gain > 0) for gain in _finite(rows, "si_sdri")])


def _failures(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the items under each reason; the two sources of one item are one failure."""
    counter: Counter[str] = Counter()
    for row in rows:
        status = re.sub(r" \([^)]*\)", "", str(row.get("status") or "ok"))
        counter.update(set(status.split("; ")) - {"ok"})
    return dict(sorted(counter.items()))
