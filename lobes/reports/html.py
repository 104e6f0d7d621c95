"""A report as one HTML file: tables, curves, spectrograms and players, without a network or a script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from lobes.reports.figures import FLOOR_DB, Curve, curves_svg, spectrogram_db, spectrogram_svg, wav_uri
from lobes.reports.style import PAGE, STYLE

__all__ = ["Curve", "Example", "Table", "write_report"]


@dataclass(frozen=True)
class Table:
    """A table of ready text: the first column names the row, the others hold numbers.

    `note` is a sentence below the table.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Example:
    """Signals [T] of one item by label; the first, the mixture, sets the brightness of all."""

    title: str
    signals: Mapping[str, np.ndarray]
    sample_rate: int


def write_report(
    path: str | Path,
    title: str,
    tables: Sequence[Table],
    examples: Sequence[Example],
    curves: Sequence[Curve],
    *,
    intro: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    curve_axes: tuple[str, str] = ("training time in seconds", "SI-SDRi on valid in dB"),
) -> Path:
    """Write one self-contained HTML page.

    Arguments
    ---------
    path : str | Path
        The file to write; it is replaced in one step.
    title : str
        The heading.
    tables : sequence of Table
        Results, in the order of reading.
    examples : sequence of Example
        Signals to look at and to hear. Four seconds at 8 kHz cost about 0.12 MB for each signal.
    curves : sequence of Curve
        Learning curves over a common pair of axes.
    intro : sequence of str
        Paragraphs under the heading.
    facts : mapping of str to str, optional
        What made this page: command, commit, seed, machine.
    curve_axes : (str, str)
        Names of the horizontal and the vertical axis.

    Returns
    -------
    Path
        The file written.

    Example
    -------
    >>> import numpy as np, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> example = Example("item 1", {"mixture": np.zeros(800)}, 8000)
    >>> table = Table("Result", ["model", "dB"], [["a", "1.0"]])
    >>> page = write_report(folder.name + "/r.html", "Demo", [table], [example], [Curve("a", [0, 1], [0, 1])])
    >>> page.read_text(encoding="utf-8").count("<audio")
    1
    """
    body = [
        f"<header><h1>{escape(title)}</h1>",
        *(f"<p>{escape(text)}</p>" for text in intro),
        "</header><main>",
    ]
    body += ["<section><h2>Results</h2>", *map(_table, tables), "</section>"] if tables else []
    body += [_curves(curves, *curve_axes)] if curves else []
    body += [_examples(examples)] if examples else []
    body += [_facts(facts)] if facts else []
    page = PAGE.format(title=escape(title), style=STYLE, body="\n".join([*body, "</main>"]))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(target.name + ".part")
    draft.write_text(page, encoding="utf-8")
    os.replace(draft, target)
    return target


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(c)}</td>" for c in row[1:]) + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{note}"
    )


def _curves(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    legend = "".join(
        f'<li><svg viewBox="0 0 34 10" aria-hidden="true"><g class="series-{index % 4}">'
        f'<polyline points="0,5 34,5"/></g></svg>{escape(curve.label)}</li>'
        for index, curve in enumerate(curves)
    )
    return (
        f'<section><h2>Learning curves</h2><ul class="legend">{legend}</ul>'
        f"{curves_svg(curves, x_label, y_label)}</section>"
    )


def _examples(examples: Sequence[Example]) -> str:
    scale = f"Each example has one colour scale: {-FLOOR_DB:g} dB up to the loudest point of its mixture."
    return f'<section><h2>Examples</h2><p class="note">{scale}</p>{"".join(map(_example, examples))}</section>'


def _example(example: Example) -> str:
    first = next(iter(example.signals.values()))
    top = float(spectrogram_db(first).max())
    cards = "".join(
        f"<figure><figcaption>{escape(label)}</figcaption>"
        f"{spectrogram_svg(signal, example.sample_rate, f'spectrogram: {label}', top)}"
        f'<audio controls preload="metadata" aria-label="{escape(f"{example.title}: {label}")}" '
        f'src="{wav_uri(signal, example.sample_rate)}"></audio></figure>'
        for label, signal in example.signals.items()
    )
    return f'<article><h3>{escape(example.title)}</h3><div class="cards">{cards}</div></article>'


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<section><h2>How this page was made</h2><dl>{items}</dl></section>"
