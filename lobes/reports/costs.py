"""What a network costs, as a page of Markdown, a chart by length, and a file of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from lobes.data.files import write_whole
from lobes.evaluation.costs import Profile, Row
from lobes.evaluation.kinds import LEFT_OUT
from lobes.reports.tables import as_markdown, percent, show

COUNTED = (
    "Multiply-accumulates of all matrix products and convolutions; a scan counts as 9·L·D·N operations and L·D each "
    "for its skip connection and its gate; an STFT counts as half the operations of a fast Fourier transform, and no "
    "sum has it."
)
MEASURED = (
    "Each length was measured in a process of its own, on noise, after a short mixture. RTF: seconds to separate a "
    "second of audio; CPU: of all threads together, which other programs on the machine hardly change. Memory in MB "
    "of 2^20 bytes: the most that the process held, libraries included, and that over what it held before."
)
COLUMNS = ("length", "threads", "RTF", "RTF, CPU", "peak MB", "MB over before", "")


def as_page(profile: Profile, where: Mapping[str, Any]) -> str:
    """The costs in Markdown, with where they were measured."""
    blocks = [f"# {profile.name}", facts(profile), by_kind(profile)]
    if profile.rows:
        machine = f"Measured on {where['machine']}, commit {where['commit']}."
        blocks += [as_markdown(COLUMNS, [_cells(row) for row in profile.rows]), f"{MEASURED} {machine}"]
    return "\n\n".join(blocks) + "\n"


def facts(profile: Profile) -> str:
    """Size, rate, receptive field, latency and state, a line for each.

    Example
    -------
    >>> facts(Profile("x", 8000, 2, 1234, None, "", "-", 32.0, 2500)).splitlines()[-1]
    '- Streaming: latency 32 ms, state 2.5 kB'
    """
    size = "unknown" if profile.parameters is None else f"{profile.parameters:,}"
    lines = [
        f"- Parameters: {size}",
        f"- Sample rate: {profile.sample_rate} Hz, sources: {profile.num_sources}",
        f"- Receptive field: {profile.receptive_field}",
    ]
    if profile.latency_ms is None or profile.state_bytes is None:
        return "\n".join([*lines, "- Streaming: no"])
    latency = f"latency {profile.latency_ms:g} ms, state {profile.state_bytes / 1000:,.1f} kB"
    return "\n".join([*lines, f"- Streaming: {latency}"])


def by_kind(profile: Profile) -> str:
    """The operations for a second of audio, a row for each kind that there is, and how they are counted."""
    if profile.macs is None or profile.total is None:
        return f"Operations: {profile.uncounted}."
    rows = [
        [kind, f"{number / 1e9:.4f}", "-" if kind in LEFT_OUT else percent(number / max(profile.total, 1))]
        for kind, number in profile.macs.items()
        if number
    ]
    rows.append(["sum", f"{profile.total / 1e9:.4f}", "100 %"])
    return f"{as_markdown(['kind', 'GMAC/s', 'share'], rows)}\n\n{COUNTED}"


def as_picture(profile: Profile) -> str:
    """Real-time factor and memory over the length on logarithmic axes, a line for each number of threads: an SVG file.

    What was skipped or failed is left out.
    """
    from lobes.reports.figures import DASHES, as_svg, new_figure

    rows = [row for row in profile.rows if "rtf" in row]
    titles = {"rtf": "seconds of work for a second of audio", "peak_mb": "most memory of the process, MB"}
    with new_figure(8.0, 3.4) as figure:
        for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
            for number, threads in enumerate(dict.fromkeys(row["threads"] for row in rows)):
                mine = [row for row in rows if row["threads"] == threads and row.get(key)]
                looks = {"marker": "o", "markersize": 4, "linestyle": DASHES[number % len(DASHES)]}
                label = f"{threads} thread{'s' * (threads > 1)}"
                axes.loglog([row["seconds"] for row in mine], [row[key] for row in mine], label=label, **looks)
            _lay_out(axes, title, [row["seconds"] for row in rows], [row[key] for row in rows if row.get(key)])
        figure.suptitle(profile.name, parse_math=False, fontsize=10)
        return as_svg(figure, profile.name)


def as_numbers(profile: Profile, where: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a JSON file."""
    return {**where, **asdict(profile), "total": profile.total}


def write(folder: Path, profile: Profile, where: Mapping[str, Any]) -> None:
    """Write `profile.json`, `profile.md` and, where something was measured, `profile.svg` into a folder."""
    write_whole(folder / "profile.json", json.dumps(as_numbers(profile, where), indent=1) + "\n")
    write_whole(folder / "profile.md", as_page(profile, where))
    if profile.rows:
        write_whole(folder / "profile.svg", as_picture(profile))


def length(seconds: float) -> str:
    """A length in words.

    Example
    -------
    >>> length(0.5), length(60), length(90), length(600)
    ('0.5 s', '1 min', '90 s', '10 min')
    """
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def _cells(row: Row) -> list[str]:
    first = [length(row["seconds"]), str(row["threads"])]
    if "rtf" not in row:
        reason = f"skipped: {row['skipped']}" if "skipped" in row else f"failed: {row['failed']}"
        return [*first, "-", "-", "-", "-", reason]
    times = [show(row["rtf"], 3), show(row["cpu_rtf"], 3)]
    return [*first, *times, show(row["peak_mb"], 0), show(row["over_mb"], 0), ""]


def ticks_around(values: Sequence[float]) -> list[float]:
    """Round values, 1, 2 and 5 times powers of ten, from one below all values to one above.

    Example
    -------
    >>> ticks_around([0.3, 1.2])
    [0.2, 0.5, 1.0, 2.0]
    """
    powers = range(floor(log10(min(values))), ceil(log10(max(values))) + 1)
    steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    low, high = max(s for s in steps if s <= min(values)), min(s for s in steps if s >= max(values))
    return [step for step in steps if low <= step <= high]


def _lay_out(axes: Any, title: str, seconds: Sequence[float], values: Sequence[float]) -> None:
    """Ticks at the lengths that were measured, in words, and at round values."""
    from matplotlib.ticker import NullLocator

    lengths = sorted(set(seconds))
    axes.set_xticks(lengths, [length(tick) for tick in lengths])
    if values:
        ticks = ticks_around([0.99 * min(values), 1.01 * max(values)])
        axes.set_yticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.set_ylim(ticks[0], ticks[-1])
        axes.legend(frameon=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_title(title)
    axes.set_xlabel("length of the recording")
    axes.grid(alpha=0.3)
