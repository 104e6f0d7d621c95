"""The section of `rivals.py`: means of every system on both tests, and differences against two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from out_of_domain import against, common, interval

from lobes.evaluation.clusters import Estimate, holm
from lobes.evaluation.score_tables import ScoreTable, read_scores
from lobes.metrics.utterance import INPUT
from lobes.reports.tables import as_markdown, show
from lobes.runs import names

FIRST, SECOND = "first test", "second test"
NOISY, CLEAN, RIVAL = "noisy", "clean", "deepfilternet3"
# measure -> heading and digits
MEASURES = {
    "dnsmos_sig": ("DNSMOS SIG", 2),
    "dnsmos_bak": ("DNSMOS BAK", 2),
    "dnsmos_ovrl": ("DNSMOS OVRL", 2),
    "dnsmos_p808": ("DNSMOS P.808", 2),
    "pesq_wb": ("PESQ", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
    "si_sdr": ("SI-SDR", 2),
    "wer": ("WER", 3),
}
LEVEL = 0.05
INTRODUCTION = (
    "The noisy input, the clean target itself, models of other projects and models trained here, on both tests of "
    "`realdata.py`, which says what they hold. All signals have 16 kHz; DeepFilterNet3 works at 48 kHz, gets them "
    "resampled, and so hears nothing above 8 kHz. DNSMOS and WER are taken at the level that fits a model's output to "
    "the noisy input, the others do not depend on the level. DTLN was trained on 500 h of noisy speech and "
    "DeepFilterNet3 on that of a DNS challenge, our models for minutes on the pairs of that page: these tables say "
    "what such minutes are worth, and not which network is better."
)
WORDS = (
    "WER of {recogniser}: in the first test against what it hears in the clean files, since these have no "
    "transcripts; in the second against the spoken digits, the only English there. Its own errors are in all of these "
    "numbers, so that only differences mean something; and they mean nothing, and are left out, in a test in which it "
    "errs no less on the clean speech than on the noisy input."
)
READING = (
    "Differences: the system minus the reference on the same utterances, with a 95 % interval by a bootstrap of "
    "speakers and, where a model has several, of trainings. **Bold**: a difference is shown, since the interval "
    "excludes zero and p, corrected for all systems and measures of both tables of a test (Holm), is below 0.05. WER: "
    "lower is better; its difference is the mean over utterances."
)

Places = Mapping[str, Mapping[str, Sequence[Path]]]  # test -> system -> its evaluations, one for each training


def section(places: Places, missing: Mapping[str, str], origin: Mapping[str, str], recogniser: str) -> str:
    """The section of RESULTS.md.

    Arguments
    ---------
    places : mapping
        Folders of evaluations; the input's scores are in each.
    missing : mapping
        System -> why it was not scored.
    origin : mapping
        What made the numbers.
    recogniser : str
    """
    parts = ["### Other projects' models and ours, two tests", INTRODUCTION]
    for test, systems in places.items():
        parts += test_parts(test, systems)
    lines = [f"- not scored: {name}, {reason}" for name, reason in missing.items()]
    lines += [line for test, systems in places.items() for line in failures(test, systems)]
    parts += [READING, WORDS.format(recogniser=recogniser), *(["\n".join(lines)] if lines else [])]
    return "\n\n".join([*parts, "\n".join(f"- {key}: {value}" for key, value in origin.items())])


def test_parts(test: str, systems: Mapping[str, Sequence[Path]]) -> list[str]:
    """The tables of one test."""
    tables = {name: [read_scores(folder) for folder in folders] for name, folders in systems.items()}
    some = next(iter(tables.values()))[0]
    rows = [[NOISY, *means(next(iter(systems.values())), INPUT)]]
    rows += [[name, *means(folders, "")] for name, folders in systems.items()]
    headings = [heading for heading, _ in MEASURES.values()]
    parts = [f"{test.capitalize()}: {len(some.ids)} utterances.", as_markdown(["system", *headings], rows)]
    found = differences(tables, [name for name in MEASURES if name != "wer" or understood(systems)])
    for reference in dict.fromkeys(reference for _, reference, _ in found):
        compared = dict.fromkeys(name for name, other, _ in found if other == reference)
        rows = [[name, *(cell(found.get((name, reference, m)), MEASURES[m][1]) for m in MEASURES)] for name in compared]
        parts += [f"{test.capitalize()}, difference against {reference}:", as_markdown(["system", *headings], rows)]
    return parts


def means(folders: Sequence[Path], of: str) -> list[str]:
    """The mean of each measure over the trainings of a system; a rate is a sum of errors by a sum of words."""
    summaries = [summary_of(folder) for folder in folders]
    return [
        show(mean([summary.get(name + of) for summary in summaries]), digits) for name, (_, digits) in MEASURES.items()
    ]


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, or nothing where a training has none."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def understood(systems: Mapping[str, Sequence[Path]]) -> bool:
    """Whether the recogniser errs less on the clean speech than on the noisy input."""
    found = summary_of(systems[CLEAN][0])
    clean, noisy = found.get("wer"), found.get("wer" + INPUT)
    return clean is not None and noisy is not None and clean < noisy


def summary_of(folder: Path) -> dict[str, float | None]:
    """The means of an evaluation."""
    return json.loads((folder / names.SUMMARY).read_text(encoding="utf-8"))["mean"]


def differences(
    tables: Mapping[str, Sequence[ScoreTable]], measures: Sequence[str]
) -> dict[tuple[str, str, str], tuple[Estimate, float]]:
    """(system, reference, measure) -> the difference and the p that holds for all of them together."""
    references = {NOISY: {m: next(iter(tables.values()))[0].numbers.get(m + INPUT, {}) for m in measures}}
    if RIVAL in tables:
        references[RIVAL] = {m: tables[RIVAL][0].numbers.get(m, {}) for m in measures}
    found = {}
    for reference, numbers in references.items():
        for name, ours in tables.items():
            if name in (CLEAN, reference):
                continue
            for measure in measures:
                ids = common(ours, measure, numbers[measure])
                if len(ids) > 1:
                    found[name, reference, measure] = against(ours, measure, numbers[measure], ids)
    together = holm([one.p for one in found.values()])
    return {key: (one, p) for (key, one), p in zip(found.items(), together, strict=True)}


def cell(found: tuple[Estimate, float] | None, digits: int) -> str:
    """A difference with its interval, bold where one is shown."""
    if found is None:
        return "-"
    one, p = found
    text = interval(one, digits)
    shown = np.isfinite(one.low) and (one.low > 0 or one.high < 0) and p < LEVEL
    return f"**{text}**" if shown else text


def failures(test: str, systems: Mapping[str, Sequence[Path]]) -> list[str]:
    """What could not be computed, counted."""
    found: dict[str, Any] = {}
    for name, folders in systems.items():
        for folder in folders:
            reasons = json.loads((folder / names.SUMMARY).read_text(encoding="utf-8"))["failures"]
            for reason, count in reasons.items():
                found.setdefault(f"{count} x {reason}", []).append(name)
    return [f"- {test}: {reason} ({', '.join(dict.fromkeys(named))})" for reason, named in found.items()]
