"""A second test of finished runs, on a manifest of another domain, and tables of both domains next to each other.

Nothing of a run is changed: its kept checkpoint is evaluated as `lobes evaluate` does, into a folder of its own below
the run. An evaluation that was stopped goes on, and a finished one is kept. N utterances.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.files import write_whole
from lobes.data.manifest import read_manifest, speaker_condition, speakers_in
from lobes.evaluation.clusters import Clusters, Estimate, estimate
from lobes.evaluation.comparison import ALL, PairedDifference, compare
from lobes.evaluation.score_tables import ScoreTable, System, read_scores, speakers_of
from lobes.metrics.utterance import INPUT
from lobes.reports.differences import NOTHING, with_interval
from lobes.reports.tables import as_markdown, show
from lobes.runs import names

FOLDER = "out_of_domain"  # below a run
NOTE = "tested.json"  # in it: what was evaluated on what
METRICS = ("si_sdr", "pesq", "stoi")
CONDITIONS = ("speech", "room", "noise")  # columns of a manifest that the tables of scores keep
MEASURES = {"pesq": ("PESQ", 2), "stoi": ("STOI", 3), "si_sdr": ("SI-SDR", 2)}  # heading and digits
PAIRED = ("pesq", "si_sdri", "stoi")
SIDES = ("first test", "second test")
HEADER = ("model", "measure", *(f"{of} {side}" for side in SIDES for of in ("input,", "output,", "gain [95 %],")))
PAIRS = ("first", "second", "measure", *(f"{of} {side}" for side in SIDES for of in ("difference,", "verdict,")))
UNITS = (
    "Means over utterances, and over the trainings of a model. Gain: output minus input on the same utterances, with a "
    "95 % interval by a bootstrap of speakers and trainings; a single speaker has none. Difference: first minus "
    "second, a difference is shown where the interval excludes zero and p, corrected for all pairs and measures of one "
    "test (Holm), is below 0.05."
)

Runs = Mapping[str, Sequence[Path]]  # the run folders of a model, one for each training


def test(run: Path, manifest: Path, device: str | None = None) -> Path:
    """Evaluate a finished run on a manifest, once.

    Arguments
    ---------
    run : Path
        A finished run folder.
    manifest : Path
        Of any data set; mixtures of PolSESS are made as the run's task asks.
    device : str, optional
        As in `lobes.inference.by_name.load_separator`.

    Returns
    -------
    Path
        `run/out_of_domain`, with `per_utterance.csv` and `summary.json`.
    """
    from lobes.evaluation.manifest import evaluate
    from lobes.inference.by_name import load_separator

    out = run / FOLDER
    tested = {"manifest": digest(manifest), "training": digest(run / names.TRAIN_TIME), "metrics": list(METRICS)}
    if (out / names.SUMMARY).is_file() and _note(out) == tested:
        print(f"tested before: {out}", flush=True)
        return out
    separator = load_separator(str(run), device, level="model")  # scores are taken at their own level
    evaluate(
        separator.separate,
        separator.num_sources,
        separator.sample_rate,
        manifest,
        out,
        metrics=METRICS,
        layout_of=lambda row: _Layout(row, separator.num_sources, separator.task),
    )
    write_whole(out / NOTE, json.dumps(tested, indent=1) + "\n")
    return out


def sizes(manifest: Path) -> dict[str, int]:
    """Numbers of pairs and of speakers of a manifest, for its description."""
    rows = read_manifest(manifest)
    return {"pairs": len(rows), "speakers": len({name for row in rows for name in speakers_in(row).split("+")})}


def section(runs: Runs, description: str, measure: str = "pesq", paired: Sequence[str] = PAIRED) -> str:
    """Both domains next to each other: input, output and gain; differences between models; gains by condition.

    Arguments
    ---------
    runs : mapping
        Model -> its tested run folders, one for each training.
    description : str
        In what the second test differs from the first.
    measure : str
        Of the gains by condition.
    paired : sequence of str
        Measures of the differences; p is corrected for all of them together.
    """
    first, second = ({name: [read_scores(run / of) for run in found] for name, found in runs.items()}
                     for of in ("", FOLDER))  # fmt: skip
    rows = [row for name in runs for row in rows_of(name, first[name], second[name])]
    parts = [description, as_markdown(HEADER, rows)]
    pairs = _pairs(first, second, paired)
    parts += [as_markdown(PAIRS, pairs)] if pairs else []
    parts += [UNITS]
    conditions = _by_condition(second, measure)
    heading, _ = MEASURES[measure]
    if conditions:
        table = as_markdown(("condition of the second test", "n", "speakers", *runs), conditions)
        parts += [f"Gain in {heading} by condition (intervals of single conditions, not corrected for their number):"]
        parts += [table]
    return "\n\n".join(parts)


def gain(tables: Sequence[ScoreTable], measure: str, ids: Sequence[str] | None = None) -> tuple[float, float, Estimate]:
    """Means of input and output, and the gain with its interval, over the utterances that all trainings have.

    Arguments
    ---------
    tables : sequence of ScoreTable
        One for each training.
    measure : str
    ids : sequence of str, optional
        Only these utterances.
    """
    before = tables[0].numbers.get(measure + INPUT, {})  # the same in all
    kept = common(tables, measure, before, ids)
    if not kept:
        return np.nan, np.nan, against(tables, measure, before, kept)
    means = (np.mean([numbers[ID] for ID in kept]) for numbers in (before, *(t.numbers[measure] for t in tables)))
    first, *outputs = map(float, means)
    return first, float(np.mean(outputs)), against(tables, measure, before, kept)


def common(
    tables: Sequence[ScoreTable], measure: str, reference: Mapping[str, float], ids: Sequence[str] | None = None
) -> list[str]:
    """The utterances in which all tables and the reference have a number."""
    numbers = [reference, *(table.numbers.get(measure, {}) for table in tables)]
    wanted = tables[0].ids if ids is None else ids
    return [ID for ID in wanted if all(np.isfinite(known.get(ID, np.nan)) for known in numbers)]


def against(tables: Sequence[ScoreTable], measure: str, reference: Mapping[str, float], ids: Sequence[str]) -> Estimate:
    """The mean of a model's scores minus those of a reference that has no trainings, with its interval.

    Arguments
    ---------
    tables : sequence of ScoreTable
        One for each training of the model.
    measure : str
    reference : mapping
        The numbers of the reference by utterance.
    ids : sequence of str
        The utterances, of `common`. A single speaker among them gives no interval.
    """
    if not ids:
        return Estimate(np.nan, np.nan, np.nan, 1.0)
    gains = np.array([[table.numbers[measure][ID] - reference[ID] for table in tables] for ID in ids])  # [N, trainings]
    clusters = Clusters(speakers(tables[0], ids))
    found = estimate(gains.mean(1), clusters, None, [gains.mean(0)])
    return found if clusters.count > 1 else found._replace(low=np.nan, high=np.nan, p=1.0)


def speakers(table: ScoreTable, ids: Sequence[str]) -> list[tuple[str, ...]]:
    """The speakers of utterances; one whose speakers are not known stands for itself."""
    found = speakers_of(table)
    return [found.get(ID) or (f"utterance {ID}",) for ID in ids]


def rows_of(name: str, first: Sequence[ScoreTable], second: Sequence[ScoreTable]) -> list[list[str]]:
    """A row for each measure."""
    rows = []
    for measure, (heading, digits) in MEASURES.items():
        sides = [gain(tables, measure) for tables in (first, second)]
        cells = [cell for of in sides for cell in (show(of[0], digits), show(of[1], digits), interval(of[2], digits))]
        rows.append([name, heading, *cells])
    return rows


def interval(found: Estimate, digits: int) -> str:
    """The mean with its interval, where there is one."""
    mean = show(found.mean, digits)
    ends = f" [{show(found.low, digits)}, {show(found.high, digits)}]"
    return mean + ends if np.isfinite(found.low) else mean


def _pairs(
    first: Mapping[str, Sequence[ScoreTable]], second: Mapping[str, Sequence[ScoreTable]], paired: Sequence[str]
) -> list[list[str]]:
    """A row for each pair of models and measure."""
    found = [_differences(side, paired) for side in (first, second)]
    keys = dict.fromkeys(key for side in found for key in side)
    return [[*key, *(cell for side in found for cell in _verdict(side.get(key)))] for key in keys]


def _differences(
    models: Mapping[str, Sequence[ScoreTable]], paired: Sequence[str]
) -> dict[tuple[str, str, str], PairedDifference]:
    """All pairs of models over all utterances, in the measures that every table has."""
    tables = [table for found in models.values() for table in found]
    measures = [name for name in paired if all(name in table.numbers for table in tables)]
    if len(models) < 2 or not measures:
        return {}
    known = speakers_of(tables[0])
    systems = [System(name, [_only(table, measures) for table in found]) for name, found in models.items()]
    return {(one.first, one.second, one.measure): one for one in compare(systems, measures, known)
            if one.condition == ALL}  # fmt: skip


def _only(table: ScoreTable, measures: Sequence[str]) -> ScoreTable:
    """A table without conditions, whose differences would all be computed."""
    return ScoreTable(table.place, {name: table.numbers[name] for name in measures}, {}, table.ids)


def _verdict(one: PairedDifference | None) -> list[str]:
    if one is None:
        return ["-", "-"]
    return [with_interval(one), f"{one.better} is better" if one.better else NOTHING]


def _by_condition(models: Mapping[str, Sequence[ScoreTable]], measure: str) -> list[list[str]]:
    """A row for each value of each condition: how many utterances and speakers, the gain of each model."""
    table = next(iter(models.values()))[0]
    rows = []
    for column in (name for name in CONDITIONS if name in table.words):
        values = table.words[column]
        for value in sorted(set(values.values())):
            ids = [ID for ID in table.ids if values[ID] == value]
            heard = {name for together in speakers(table, ids) for name in together}
            gains = [interval(gain(tables, measure, ids)[2], MEASURES[measure][1]) for tables in models.values()]
            rows.append([f"{column}: {value}", str(len(ids)), str(len(heard)), *gains])
    return rows


class _Layout:
    """Rows of a manifest as `lobes evaluate` takes them; the table of scores also gets the manifest's conditions."""

    def __init__(self, row: Mapping[str, str], num_sources: int, task: str | None) -> None:
        from lobes.evaluation.manifest import sources_of
        from lobes.polsess.fixed import layout_of

        self._mixed = layout_of(row, num_sources, None, task)
        self._stored = ("mix_wav", *sources_of(row))
        self.group_by = self._mixed.group_by if self._mixed else ""

    def columns(self, row: Mapping[str, str]) -> Sequence[str]:
        """The files of a row."""
        return self._mixed.columns(row) if self._mixed else self._stored

    def item(self, row: Mapping[str, str], read: Callable[[str], np.ndarray]) -> tuple[Any, Any, dict[str, str], bool]:
        """Mixture [T], targets [T,S], conditions, and whether a gain means something."""
        if self._mixed:
            mix, targets, conditions, improvement = self._mixed.item(row, read)
        else:
            mix, *sources = (read(row[column]) for column in self._stored)
            targets, conditions, improvement = np.stack(sources, 1), speaker_condition(row), True
        return mix, targets, {**conditions, **{name: row[name] for name in CONDITIONS if row.get(name)}}, improvement


def digest(path: Path) -> str:
    """The SHA-256 of a file, by which a second test knows its manifest and its training."""
    return sha256(path.read_bytes()).hexdigest()


def _note(folder: Path) -> Any:
    try:
        return json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
