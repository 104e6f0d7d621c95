"""The tables of campaign.py for a page of the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from campaign_life import KINDS
from campaign_outcome import CURVES, ENDS

COLUMNS = (
    "configuration", "kills", "of them in processes of their own", "starts lost", "runs", "ends identical",
    "curves identical", "batches run twice, per kill",
)  # fmt: skip
PLACES = {
    "start": "in a start", "batch": "in a batch", "save": "in a save", "tables": "at the end of an epoch",
    "validation": "in the validation", "test": "in the test",
}  # fmt: skip


def section(result: Mapping[str, Any]) -> str:
    """The text of the section: where the numbers come from, a line for each configuration, and where the kills hit."""
    from lobes.reports.tables import as_markdown

    names = list(result["references"])
    rows = [row(name, result) for name in names]
    if len(rows) > 1:
        rows.append(row("all", result))
    hits = [[PLACES[kind], str(hit)] for kind, hit in places(result["runs"]).items()]
    return "\n".join(
        [
            "## Kills at random moments",
            "",
            f"Written by `{result['command']}`, commit {result['commit']}; seed {result['seed']}; {result['machine']}.",
            "",
            as_markdown(COLUMNS, rows),
            "",
            "Ends: weights and optimizer of every checkpoint that is kept, the test's table and its summary, and no",
            "file left over. Curves: `learning_curve.csv` and `train_log.txt` without their seconds. All are compared",
            "bit by bit with those of an undisturbed run.",
            "",
            as_markdown(("the kills hit", "kills"), hits),
            *problems(result),
        ]
    )


def row(name: str, result: Mapping[str, Any]) -> list[str]:
    """A configuration's cells, or those of all runs."""
    runs = [run for run in result["runs"] if name in ("all", run["configuration"])]
    kills = [kill for run in runs for kill in run["kills"]]
    repeated = [run for run in runs if "repeated" in run]
    per_kill = sum(run["repeated"] for run in repeated) / max(1, sum(len(run["kills"]) for run in repeated))
    return [
        name, str(len(kills)), str(sum(kill["fresh"] for kill in kills)), str(sum(len(run["lost"]) for run in runs)),
        str(len(runs)), without(runs, ENDS), without(runs, CURVES), f"{per_kill:.1f}",
    ]  # fmt: skip


def without(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """How many runs have no such difference, of all."""
    return f"{sum(not {*names, 'no end'} & set(run['differs']) for run in runs)} of {len(runs)}"


def places(runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Kills of each kind."""
    return {kind: sum(kill["kind"] == kind for run in runs for kill in run["kills"]) for kind in KINDS}


def problems(result: Mapping[str, Any]) -> list[str]:
    """A line for each configuration whose undisturbed run does not repeat itself, and for each lost start."""
    unsteady = [name for name, known in result["references"].items() if known["repeats"] is False]
    lines = [f"- {name}: two undisturbed runs differ as well, so nothing can be said." for name in unsteady]
    for run in result["runs"]:
        lines += [f"- {run['configuration']}: lost after {one['after']}: {one['words']}" for one in run["lost"]]
    return ["", *lines] if lines else []


def verdict(result: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    cells = dict(zip(COLUMNS, row("all", result), strict=True))
    return ", ".join(f"{name}: {value}" for name, value in cells.items() if name != "configuration")
