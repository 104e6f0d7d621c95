#!/usr/bin/env python3
"""What a share of the enhancement does to listeners' opinions and to a recogniser: a table and a picture.

> python strength.py RUN --data RUN/save/test.csv --data_root SET
> python strength.py RUN1 RUN2 RUN3 --data MANIFEST --name bsrnn_mini     # three trainings of one network

Of each file a share of the enhanced signal and the rest of the input are added, as `lobes enhance --strength` does, and
scored: DNSMOS, word errors, PESQ, SI-SDR. Where the manifest has no texts, the words are those that the recogniser
hears in the clean file. What is scored is kept: the same command after an interruption goes on where it stopped. Table
and picture go into RESULTS.md in this folder, or into --results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import strength_report as report

from lobes.config.recipe_folders import results_folder, results_page
from lobes.data import arguments
from lobes.data.audio import read_mono_with_rate
from lobes.data.files import write_whole
from lobes.data.manifest import speakers_in, texts_of, write_manifest
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.inputs import shared_in
from lobes.evaluation.items import filled_columns, sources_of
from lobes.evaluation.manifest import evaluate, open_manifest
from lobes.evaluation.recognisers import POCKETSPHINX, check_recogniser, load_recogniser
from lobes.evaluation.score_tables import ScoreTable, read_scores
from lobes.inference.by_name import load_separator
from lobes.inference.strength import applied
from lobes.metrics.measures import MetricError
from lobes.metrics.words import Recognise, errors_in
from lobes.reports.tables import replace_section
from lobes.runs import names
from lobes.runs.launcher import stage
from lobes.runs.provenance import command

HERE = Path(__file__).resolve().parent
RESULTS = results_page(HERE)
METRICS = ("si_sdr", "pesq", "dnsmos")
STRENGTHS = (0.25, 0.5, 0.75, 1.0)

Separate = Callable[[np.ndarray], np.ndarray]  # a mixture [T] to its estimate [T,1]
Rows = Sequence[Mapping[str, str]]


def main(argv: Sequence[str] | None = None) -> None:
    """Score what is not scored yet, write the table and the picture."""
    options = parse(argv)
    recognise = recogniser_of(options)
    rows = open_manifest(options.data, options.data_root).rows
    if sources_of(filled_columns(rows)) != ["s1_wav"] or not all(row["s1_wav"] for row in rows):
        raise UserError(f"{options.data}: expected one source for each file, its clean speech, in the column s1_wav.")
    separators = [load_separator(model, options.device, level="mixture") for model in options.models]
    for separator in separators:
        separator.check_enhances()
    refuse_others(options, rows, separators, recognise is not None)
    with stage("texts"):
        manifest, words = with_texts(options, rows, recognise)
    tables = {}
    with shared_in(options.output / "input_scores"):
        for number, separator in enumerate(separators, 1):
            enhance = remembered(separator.separate)
            for share in options.strengths:
                with stage(f"training {number} of {len(separators)}, strength {share:g}"):
                    folder = options.output / f"training{number}" / f"strength_{share:g}"
                    tables[number, share] = scored(options, enhance, separator.sample_rate, manifest, share, folder)
    curves = report.curves_of(tables)
    picture = options.results.with_name(f"strength_{options.name}.svg")
    write_whole(picture, report.as_picture(curves, f"{options.name}, share of the enhancement"))
    heading = (options.name, words, Path(options.recogniser).name)
    text = report.section(curves, *heading, picture.name, command(__file__, given(options)))
    replace_section(options.results, f"strength-{options.name}", text)
    print(f"\n{text}\n\nwritten to {options.results} and {picture.name}", flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("models", nargs="+", help="an enhancement model as for `lobes enhance`; several are trainings of one network")
    add("--data", type=Path, required=True, help="a manifest: CSV with ID, mix_wav, s1_wav, and speaker, text if known")
    add("--data_root", type=Path, help="what $data_root in it stands for")
    add("--strengths", nargs="+", type=arguments.positive, default=list(STRENGTHS), help="default: 0.25 0.5 0.75 1")
    add("--name", help="of the model, in file names and headings (default: that of the first model)")
    add("--recogniser", default=POCKETSPHINX, help="as for `lobes evaluate` (default: %(default)s)")
    add("--output", type=Path, default=results_folder() / "strength", help="default: results/strength")
    add("--results", type=Path, default=RESULTS, help="Markdown file for the table (default: %(default)s)")
    add("--workers", type=arguments.from_zero, help="scoring processes; 0 scores in this one")
    add("--device", help="cpu or cuda (default: the GPU if any)")
    options = parser.parse_args(argv)
    if max(options.strengths) > 1:
        raise UserError(f"--strengths: expected shares up to 1, got {max(options.strengths):g}; 0 is always there.")
    options.strengths = sorted(set(options.strengths))
    options.name = options.name or Path(options.models[0]).name
    options.output, options.results = (options.output / options.name).resolve(), options.results.resolve()
    return options


def recogniser_of(options: argparse.Namespace) -> Recognise | None:
    """What listens; None where it is not installed."""
    check_recogniser(options.recogniser)
    try:
        errors_in("a", "a")
        return load_recogniser(options.recogniser)
    except MetricError as error:
        print(f"no word errors: {error}", flush=True)
        return None


def refuse_others(options: argparse.Namespace, rows: Rows, separators: Sequence[Any], hears: bool) -> None:
    """Note what is scored, or refuse a folder with scores of something else: they would be taken for these."""
    path = options.output / "asked.json"
    asked = {
        "data": digest(repr(rows).encode(errors="surrogateescape")),
        "recogniser": options.recogniser if hears else "none",
        "models": [weights_of(separator) for separator in separators],
    }
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else asked
    other = [name for name in asked if asked[name] != known[name]]
    if other:
        raise UserError(
            f"{options.output}: holds scores with other {' and '.join(other)}. Give another --name or --output, or "
            "delete that folder."
        )
    options.output.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asked, indent=1) + "\n")


def weights_of(separator: Any) -> str:
    """What a model's weights hash to."""
    tensors = separator.mods.state_dict()
    return digest(*(tensors[name].cpu().numpy().tobytes() for name in sorted(tensors)))


def digest(*parts: bytes) -> str:
    """A hash of some bytes, in letters."""
    return sha256(b"".join(parts)).hexdigest()[:16]


def with_texts(options: argparse.Namespace, rows: Rows, recognise: Recognise | None) -> tuple[Path, str]:
    """A manifest with the words of each file, and where they come from, as `strength_report.section` takes it."""
    path, source = options.output / "manifest.csv", ""
    texts = {row["ID"]: texts_of(row, 1)[0] for row in rows}
    if recognise is not None:
        source = "text" if any(texts.values()) else "clean"
        texts = texts if source == "text" else heard(path.with_name("clean_texts.jsonl"), rows, recognise)
    places = ("ID", "mix_wav", "s1_wav")
    described = [{"speaker": speakers_in(row), "text": texts[row["ID"]]} for row in rows]
    write_manifest(
        path, [{name: row[name] for name in places} | more for row, more in zip(rows, described, strict=True)]
    )
    return path, source


def heard(path: Path, rows: Rows, recognise: Recognise) -> dict[str, str]:
    """What is heard in the clean files, by ID; the file holds what an earlier call heard."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []  # a line without end is none
    texts = dict(map(json.loads, lines))
    write_whole(path, "".join(f"{line}\n" for line in lines))
    with open(path, "a", encoding="utf-8") as file:
        for row in rows:
            if row["ID"] not in texts:
                texts[row["ID"]] = words_in(row["s1_wav"], recognise)
                file.write(json.dumps([row["ID"], texts[row["ID"]]]) + "\n")
                file.flush()
    return texts


def words_in(path: str, recognise: Recognise) -> str:
    """What is heard in a file; nothing in silence."""
    samples, rate = read_mono_with_rate(path)
    try:
        return recognise(samples.astype(np.float32), rate)
    except MetricError:
        return ""


def remembered(separate: Separate) -> Separate:
    """The same, but each mixture is enhanced once for all strengths."""
    known: dict[bytes, np.ndarray] = {}

    def enhance(mix: np.ndarray) -> np.ndarray:
        key = sha256(mix.tobytes()).digest()
        if key not in known:
            known[key] = separate(mix)
        return known[key]

    return enhance


def scored(
    options: argparse.Namespace, enhance: Separate, sample_rate: int, manifest: Path, share: float, folder: Path
) -> ScoreTable:
    """The scores by file at one strength, made once."""

    def separate(mix: np.ndarray) -> np.ndarray:
        return next(applied(iter([enhance(mix)[..., None]]), [iter([mix])], share))[..., 0]  # [T,1]

    if not (folder / names.SUMMARY).is_file():
        metrics = (*METRICS, "wer")
        evaluate(
            separate, 1, sample_rate, manifest, folder, metrics=metrics, workers=options.workers,
            recogniser=options.recogniser,
        )  # fmt: skip
    return read_scores(folder)


def given(options: argparse.Namespace) -> list[str]:
    """The options that make the numbers, as words of a command line."""
    words = [*(Path(model).name for model in options.models), "--data", options.data.name]
    words += ["--strengths", *(f"{share:g}" for share in options.strengths), "--name", options.name]
    return [*words, "--recogniser", Path(options.recogniser).name]


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
