"""Time and memory of one frame with several mixers, by the length of a recording.

Each figure is the median of some fresh processes. What has been measured is kept: a stopped measurement goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from comparison_entries import OF_MIXER, Entry, network_of

from lobes.data.files import write_whole
from lobes.doctor.machine import available_memory
from lobes.inference.measuring import measured
from lobes.models import get_model
from lobes.reports.costs import length
from lobes.reports.tables import as_markdown, show
from lobes.runs.provenance import commit, machine

SECONDS = (1.0, 10.0, 60.0)
REPEATS, THREADS = 3, 1
LIMIT_S = 600.0  # of work, after which a measurement is given up
MINUTES = 1.5  # that all measurements of a network take
FIGURES = {"rtf": ("RTF", 3), "over_mb": ("MB", 0)}  # heading and digits
EXPLAINED = (
    "Medians of {repeats} fresh processes, {threads} thread(s), on noise, after a short mixture; a recording is "
    "separated in one piece, which `lobes separate` does not do with long ones. RTF: seconds to separate a second of "
    "audio. MB: of 2^20 bytes, the most memory over what the process held before. GMAC/s: for one second of audio, "
    "scans included."
)

Row = dict[str, Any]


class Network(NamedTuple):
    """A preset with the options that a mixer of some width needs."""

    preset: str
    options: Mapping[str, Any]


def networks_of(entries: Sequence[Entry], settings: Mapping[str, Any]) -> dict[str, Network]:
    """The networks of the lines of a comparison, by their labels."""
    found = {}
    for entry in entries:
        preset, options = network_of(entry, settings)
        mixer = {key: entry.options[key] for key in OF_MIXER if key in entry.options}
        found[entry.label] = Network(preset, {**options, **mixer})
    return found


def minutes(networks: int) -> float:
    """About how long the measurements of so many networks take."""
    return networks * MINUTES


def measure(networks: Mapping[str, Network], place: Path) -> list[Row]:
    """Measure what the file does not hold yet, each length of each network in turn.

    Arguments
    ---------
    networks : mapping
        Label -> network.
    place : Path
        JSON file that gets the rows, one after the other. Those of another commit or machine are left out.
    """
    where = {"commit": commit(), "machine": machine()}
    rows = rows_so_far(place, where)
    done = [(row["label"], row["seconds"], row["repeat"]) for row in rows]
    for repeat, label, seconds in product(range(REPEATS), networks, SECONDS):
        if (label, seconds, repeat) not in done:
            case = {"model": networks[label].preset, "options": dict(networks[label].options), "seconds": seconds}
            memory = available_memory()[0]
            figures = measured({**case, "threads": THREADS, "chunk_s": 0}, None, memory, LIMIT_S)
            rows.append({"label": label, "seconds": seconds, "repeat": repeat, **figures})
            write_whole(place, json.dumps({**where, "rows": rows}, indent=1) + "\n")
            print(f"{label}, {length(seconds)}: {in_words(rows[-1])}", flush=True)
    return rows


def rows_so_far(place: Path, where: Mapping[str, Any]) -> list[Row]:
    """What an earlier call has measured on this commit and machine; what failed is tried again."""
    found = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    same = all(found.get(key) == value for key, value in where.items())
    return [row for row in found["rows"] if "failed" not in row] if same else []


def in_words(row: Row) -> str:
    """The figures of a row, or why there are none."""
    return row["failed"] if "failed" in row else ", ".join(f"{key} {row[key]}" for key in FIGURES)


def section(networks: Mapping[str, Network], rows: Sequence[Row], made_by: str) -> str:
    """The section of RESULTS.md."""
    columns = [f"{name}, {length(seconds)}" for name, _ in FIGURES.values() for seconds in SECONDS]
    header = ("model", "parameters", "GMAC/s", *columns)
    failed = {f"- {row['label']}, {length(row['seconds'])}: {row['failed']}": None for row in rows if "failed" in row}
    lines = [
        f"### Costs of {len(networks)} mixers by length: {next(iter(networks.values())).preset}",
        "",
        as_markdown(header, [cells(label, network, rows) for label, network in networks.items()]),
        "",
        EXPLAINED.format(repeats=REPEATS, threads=THREADS),
        "",
        *failed,
        f"- {made_by}",
        f"- commit: {commit()}",
        f"- machine: {machine()}",
    ]
    return "\n".join(lines)


def cells(label: str, network: Network, rows: Sequence[Row]) -> list[str]:
    """A network's cells under the header of the section."""
    from lobes.evaluation.complexity import count

    cost = count(get_model(network.preset, **network.options))
    found = [show(figure(rows, label, seconds, key), FIGURES[key][1]) for key in FIGURES for seconds in SECONDS]
    return [label, f"{cost.parameters:,}", show(cost.total / 1e9), *found]


def figure(rows: Sequence[Row], label: str, seconds: float, key: str) -> float | None:
    """The median of a figure; None where it was not measured."""
    mine = [row.get(key) for row in rows if (row["label"], row["seconds"]) == (label, seconds)]
    known = [value for value in mine if value is not None]
    return median(known) if known else None
