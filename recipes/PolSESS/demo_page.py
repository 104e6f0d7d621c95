"""The results of the demo: report.html, summary.json, per_utterance.csv and the closing table on the screen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from counted_variants import CLEAN, counted_variants

from lobes.data.audio import read
from lobes.data.files import write_whole
from lobes.evaluation.results import folder_name
from lobes.evaluation.score_tables import ScoreTable, System
from lobes.reports import tables as table
from lobes.reports.evaluation_page import chosen_examples
from lobes.reports.html import AudioExample, Curve, Table, write_report
from lobes.runs.record import Outcome, named, number
from lobes.runs.table import write_per_utterance

MEASURE = "si_sdri"  # that chooses the examples
VARIANTS = "The letters name what the mixture holds in addition to speech: S scene, E sound event, R reverb."
ONE_SEED = "One seed and no interval: a small difference between two rows says nothing."
Outcomes = dict[str, Outcome]  # by model


def write_results(output: Path, task: str, outcomes: Outcomes, facts: dict[str, str]) -> None:
    """Write report.html, summary.json and per_utterance.csv into the folder."""
    models = {
        name: {
            "means": table.means(o.summary, counted_variants(task)),
            "summary": o.summary,
            "train_time": o.train_time,
        }
        for name, o in outcomes.items()
    }
    summary = json.dumps({"task": task, **facts, "models": models}, indent=2)
    write_whole(output / "summary.json", summary + "\n")
    rows = [{"model": name, **row} for name, outcome in outcomes.items() for row in outcome.utterances]
    write_per_utterance(output / "per_utterance.csv", rows)
    write_page(output, task, outcomes, facts)


def write_page(output: Path, task: str, outcomes: Outcomes, facts: dict[str, str]) -> None:
    """Write report.html."""
    tests = len(next(iter(outcomes.values())).utterances)
    note = f"{tests} test mixtures of speakers that training never heard. {table.UNITS} {CLEAN} {ONE_SEED}"
    tables = [
        Table("Means over the test set", table.HEADER, result_rows(outcomes, task), note),
        Table("SI-SDRi in dB by variant", *table.group_rows(outcomes, counted_variants(task)), VARIANTS),
    ]
    curves = [
        Curve(
            name,
            [number(row["seconds"]) for row in o.curve],
            [number(row["valid_si_sdri"]) for row in o.curve],
        )
        for name, o in outcomes.items()
    ]
    title = "Lobes demo: two small models on a miniature Polish PolSESS corpus"
    examples = page_examples(output, outcomes)
    write_report(output / "report.html", title, tables, examples, curves, intro=introduction(task), facts=facts)


def introduction(task: str) -> list[str]:
    """Say what the page shows and what it does not."""
    return [
        f"Task {task}: enhance one speaker in a scene with a sound event, indoors also with reverb. "
        "Both models saw the same corpus for the same number of training seconds. Of each, the checkpoint "
        "that was best in validation is tested; the speakers of the validation are in neither training nor test.",
        "Speech is synthetic and training takes minutes. The page shows that every part works; it does not "
        "say which kind of model is better on real data.",
    ]


def result_rows(outcomes: Outcomes, task: str) -> list[list[str]]:
    """Rows of the result table: the mixture itself, then the models."""
    variants = counted_variants(task)
    untouched = table.input_row("mixture as it is", next(iter(outcomes.values())), variants)
    return [untouched, *(table.model_row(name, outcome, variants) for name, outcome in outcomes.items())]


def page_examples(output: Path, outcomes: Outcomes) -> list[AudioExample]:
    """Mixture, target and the models' estimates of some of the test items that were kept as sound.

    They are those with the best, the median and the worst gain of the first model.
    """
    folders = {path.parent.name: path.parent for path in (output / next(iter(outcomes)) / "audio").glob("*/mix.wav")}
    rows = {
        name: {row["id"]: row for row in outcome.utterances if folder_name(row["id"]) in folders}
        for name, outcome in outcomes.items()
    }
    systems = [
        System(name, [ScoreTable(name, {MEASURE: {ID: row[MEASURE] for ID, row in found.items()}}, {}, list(found))])
        for name, found in rows.items()
    ]
    of_items = f"of {len(folders)} test items by the SI-SDRi of {systems[0].label}"
    labels = table.short_labels([row["id"] for row in next(iter(outcomes.values())).utterances])
    return [
        example(
            f"{kind.capitalize()} {of_items}: variant {rows[systems[0].label][ID]['variant']} ({labels[ID]})",
            folders[folder_name(ID)],
            {name: found[ID] for name, found in rows.items()},
            output,
        )
        for kind, ID in chosen_examples(systems, MEASURE)
    ]


def example(title: str, folder: Path, rows: dict[str, dict[str, Any]], output: Path) -> AudioExample:
    """Read the signals of one test item and say what each model made of it."""
    files = {"mixture": folder / "mix.wav", "target: speaker 1, dry": folder / "s1.wav"}
    for name, row in rows.items():
        files[f"{name}, {gain(row)}"] = output / name / "audio" / folder.name / "s1_hat.wav"
    signals = {label: read(path)[0] for label, path in files.items()}
    return AudioExample(title, signals, read(folder / "mix.wav")[1])


def gain(row: dict[str, Any]) -> str:
    """The improvement of one item in words; in variant C there is nothing to improve, so its SI-SDR stands there."""
    name, metric = ("SI-SDRi", "si_sdri") if math.isfinite(row["si_sdri"]) else ("SI-SDR", "si_sdr")
    return named(name, row[metric], ".1f", " dB")


def as_section(task: str, outcomes: Outcomes, facts: dict[str, str]) -> str:
    """The result as a section of RESULTS.md: the table, then what made it."""
    lines = [
        f"### The demo, seed {facts['seed']}",
        "",
        f"Task {task}, synthetic Polish speech; see report.html of the demo for what the corpus holds.",
        "",
        table.as_markdown(table.HEADER, result_rows(outcomes, task)),
        "",
        f"{table.UNITS} {CLEAN} {ONE_SEED}",
        "",
        *(f"- {name}: {f'`{value}`' if name == 'command' else value}" for name, value in facts.items()),
    ]
    return "\n".join(lines)


def closing_words(output: Path, task: str, outcomes: Outcomes) -> str:
    """The result on the screen: numbers, and no word about a winner."""
    return (
        f"\n{table.as_text(table.HEADER, result_rows(outcomes, task))}\n\n{table.UNITS}\n{CLEAN}\n{ONE_SEED}\n\n"
        f"page       {output / 'report.html'}\n"
        f"numbers    {output / 'summary.json'}, per_utterance.csv\n"
        f"model      {output / 'exported'}   (SepformerSeparation.from_hparams loads this folder)\n"
        f"separated  {output / 'separated'}"
    )
