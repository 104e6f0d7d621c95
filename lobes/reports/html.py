"""A report as one HTML file: tables, curves, spectrograms and players. It fetches nothing, and needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from lobes.data.files import write_whole
from lobes.reports.figures import (
    FLOOR_DB,
    Curve,
    at_one_loudness,
    curves_svg,
    spectrogram_db,
    spectrogram_svg,
    wav_uri,
)

__all__ = ["AudioExample", "Curve", "Table", "write_report"]


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
class AudioExample:
    """Signals [T] of one item by label, played and drawn at one loudness. Titles differ in a page."""

    title: str
    signals: Mapping[str, np.ndarray]
    sample_rate: int

    @cached_property
    def levelled(self) -> dict[str, np.ndarray]:
        """The signals at one loudness, no peak beyond full scale."""
        return at_one_loudness(self.signals)

    @property
    def top_db(self) -> float:
        """The loudest point of all the signals at one loudness."""
        return max(float(spectrogram_db(signal).max()) for signal in self.levelled.values())


def write_report(
    path: str | Path,
    title: str,
    tables: Sequence[Table],
    examples: Sequence[AudioExample],
    curves: Sequence[Curve],
    *,
    intro: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    curve_axes: tuple[str, str] = ("training time in seconds", "SI-SDRi in validation, dB"),
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
    examples : sequence of AudioExample
        Signals to look at and to hear. Four seconds of speech at 8 kHz cost about 0.16 MB for each signal.
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
    >>> example = AudioExample("item 1", {"mixture": np.zeros(800)}, 8000)
    >>> table = Table("Result", ["model", "dB"], [["a", "1.0"]])
    >>> page = write_report(folder.name + "/r.html", "Demo", [table], [example], [Curve("a", [0, 1], [0, 1])])
    >>> page.read_text(encoding="utf-8").count("<audio")
    1
    """
    page = templates().get_template("report.html")
    html = page.render(
        title=title, intro=intro, tables=tables, curves=curves, axes=curve_axes, examples=examples, facts=facts
    )
    write_whole(path, html)
    return Path(path)


def templates() -> Environment:
    """The templates of this folder: what they are given is escaped, and what they are not given is an error."""
    environment = Environment(
        loader=PackageLoader("lobes.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    drawing = {"curves_svg": curves_svg, "spectrogram_svg": spectrogram_svg, "wav_uri": wav_uri}
    environment.globals.update(drawing, shown_db=f"{-FLOOR_DB:g}")
    return environment
