"""Tables of finished training runs: the same numbers for each run, as rows of text for a page or a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lobes.data.files import write_whole
from lobes.runs.record import Outcome

HEADER = (
    "model",
    "SI-SDR in",
    "SI-SDR out",
    "SI-SDRi",
    "improved",
    "SDRi",
    "PESQ in",
    "PESQ out",
    "PESQ up",
    "STOI in",
    "STOI out",
    "STOI up",
    "steps",
    "training",
)
UNITS = (
    "In: the mixture as it is; out: the model's output. SI-SDR and SDR in dB, PESQ about 1 to 4.5, STOI 0 to 1; means "
    "over groups with equal weight. Improved, up: share of items whose output is higher than the input."
)


def means(summary: Mapping[str, Any], groups: Sequence[str]) -> dict[str, float]:
    """Return the scores of input and output as means over the given groups of a test set.

    The input's SI-SDR is the output's minus the improvement, so the three columns of a table always agree.

    Arguments
    ---------
    summary : mapping
        What `lobes.evaluation.summary.summarise` returned.
    groups : sequence of str
        The groups that count. Those that the summary does not have are skipped.

    Example
    -------
    >>> one = {"si_sdr": 5.0, "si_sdri": 4.0, "sdri": 4.5, "pesq": 1.5, "stoi": 0.7}
    >>> means({"groups": {"noisy": one, "clean": {**one, "si_sdri": -99.0}}}, ["noisy"])["si_sdr_in"]
    1.0
    """
    rows = [summary["groups"][name] for name in groups if name in summary["groups"]]
    names = ("si_sdr", "si_sdri", "sdri", "pesq_in", "pesq", "stoi_in", "stoi")
    result = {name: mean(row.get(name) for row in rows) for name in names}
    return {"si_sdr_in": result["si_sdr"] - result["si_sdri"], **result}


def mean(values: Iterable[float | None]) -> float:
    """Mean of the finite values; NaN if there are none.

    Example
    -------
    >>> mean([1.0, None, 3.0, float("nan")])
    2.0
    """
    kept = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(kept) if kept else math.nan


def model_row(label: str, outcome: Outcome, groups: Sequence[str]) -> list[str]:
    """Return a model's row under `HEADER`, with means over the given groups."""
    score = means(outcome.summary, groups)
    levels = [show(score[name]) for name in ("si_sdr_in", "si_sdr", "si_sdri")]
    quality = [
        cell
        for name, digits in (("pesq", 2), ("stoi", 3))
        for cell in (show(score[f"{name}_in"], digits), show(score[name], digits), share(outcome, name))
    ]
    steps, seconds = outcome.trained
    return [label, *levels, share(outcome, "si_sdr"), show(score["sdri"]), *quality, str(steps), f"{seconds:.0f} s"]


def input_row(label: str, outcome: Outcome, groups: Sequence[str]) -> list[str]:
    """Return the row of the untouched mixtures under `HEADER`, from the test of any model on them."""
    score = means(outcome.summary, groups)
    level, pesq, stoi = show(score["si_sdr_in"]), show(score["pesq_in"]), show(score["stoi_in"], 3)
    return [label, level, level, "0.00", "", "0.00", pesq, pesq, "", stoi, stoi, "", "", ""]


def share(outcome: Outcome, metric: str) -> str:
    """Return the share of items whose output is higher than the input in a metric, in per cent."""
    known = outcome.summary.get("against_input", {}).get(metric, {}).get("improved")
    value = outcome.summary["improved_share"] if metric == "si_sdr" else known
    return percent(value)


def percent(share: float | None) -> str:
    """Write a share in per cent; what is missing is a dash.

    Example
    -------
    >>> percent(0.5), percent(None)
    ('50 %', '-')
    """
    return "-" if share is None or not math.isfinite(share) else f"{100 * share:.0f} %"


def group_rows(labelled: Mapping[str, Outcome], groups: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the improvement by group, one row per model."""
    names = [name for name in groups if any(name in o.summary["groups"] for o in labelled.values())]
    rows = [
        [label, *(show(outcome.summary["groups"].get(name, {}).get("si_sdri")) for name in names)]
        for label, outcome in labelled.items()
    ]
    return ["model", *names], rows


def show(value: float | None, digits: int = 2) -> str:
    """Write a number for a table; what is missing is a dash.

    Example
    -------
    >>> show(1.234), show(None), show(float("nan"))
    ('1.23', '-', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def short_labels(names: Sequence[str], most: int = 24) -> dict[str, str]:
    """Shorten the names that have more letters than `most`, all to different labels: beginning … end.

    Example
    -------
    >>> names = ["p232_001", "m3c2ni4b29uyc6nl-tggejxt9i4cm9lrx", "m3c2ni4b29uyc6nl-pggejxt9i4cm9lrx"]
    >>> list(short_labels(names).values())
    ['p232_001', 'm3c2ni4b29uyc6n…i4cm9lrx', 'm3c2ni4b29uyc6nl-pggej…2']
    """
    labels: dict[str, str] = {}
    taken = {name for name in names if len(name) <= most}
    for name in dict.fromkeys(names):
        label, number = name, 1
        while len(label) > most or (label in taken and label != name):
            end = f"…{name[-8:]}" if number == 1 else f"…{number}"
            label, number = name[: most - len(end)] + end, number + 1
        labels[name] = label
        taken.add(label)
    return labels


def as_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align a table for a terminal.

    Example
    -------
    >>> print(as_text(["a", "dB"], [["first", "1.0"]]))
    a       dB
    first  1.0
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    )


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table for a Markdown file; a | in a cell is escaped, and a line break there becomes a blank.

    Example
    -------
    >>> print(as_markdown(["a", "dB"], [["first", "1.0"]]))
    | a | dB |
    |---|---:|
    | first | 1.0 |
    """
    rule = "|" + "|".join(["---", *["---:"] * (len(header) - 1)]) + "|"
    lines = ["| " + " | ".join(map(_cell, cells)) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(text: str) -> str:
    return " ".join(text.splitlines()).replace("|", "\\|")


def replace_section(path: Path, name: str, text: str) -> None:
    """Write `text` between `<!-- name:begin -->` and `<!-- name:end -->` of a file, else at its end.

    Example
    -------
    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "RESULTS.md"
    >>> replace_section(page, "a", "one"); replace_section(page, "a", "two")
    >>> page.read_text().split()
    ['<!--', 'a:begin', '-->', 'two', '<!--', 'a:end', '-->']
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    section = f"{begin}\n{text.strip()}\n{end}"
    if begin in old and end in old:
        new = old[: old.index(begin)] + section + old[old.index(end) + len(end) :]
    else:
        new = (old.rstrip() + "\n\n" if old.strip() else "") + section + "\n"
    write_whole(path, new)
