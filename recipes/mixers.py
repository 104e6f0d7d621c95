#!/usr/bin/env python3
"""Which sequence model? Mamba, LSTM, xLSTM and attention at one size, in two frames, on real recordings.

> python recordings.py FOLDER                             # builds the folder of recordings from public sources, 28 MB
> python mixers.py --recordings FOLDER                    # all parts, about 8 h on two cores
> python mixers.py --recordings FOLDER --parts voicebank  # one of them

es: the frame of TF-GridNet on the ES corpus of PolSESS/realdata.py. voicebank: the band-split frame of BSRNN on the set
of VoiceBank/realdata.py. Each of both makes its data, trains every mixer with every seed by comparison.py, tests in
domain and on a second set of another language, noise and room, and writes its section into its recipe's RESULTS.md.
costs: time and memory of both by the length of a recording, which needs no training. After a stop the same command goes
on. Minutes of training and costs are only fair on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

sys.path.extend(str(Path(__file__).resolve().parent / recipe) for recipe in ("PolSESS", "VoiceBank"))  # their data

import comparison
import mixers_costs
import out_of_domain
import out_of_domain_corpus
import out_of_domain_pairs
import realdata_corpora
import realdata_set
from comparison_entries import Entry, entries_of

from lobes.config.recipe_folders import results_folder, results_page
from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error
from lobes.reports.tables import replace_section
from lobes.runs.launcher import stage

HERE = Path(__file__).resolve().parent
MIXERS = ("mamba", "lstm", "xlstm", "attention")
SEEDS = (1, 2, 3)
MINUTES, THREADS = 10.0, 2  # of each training
COSTS = "costs"
MATCH = "parameters"
SCORED = "test_metrics=[si_sdr, pesq, stoi]"  # no more than the tables show
FAIR = (
    "Only the sequence model of the network differs (`mixer`), and its width, with which each network has as many "
    "parameters as with its own mixer, within 2 %. Norms, residuals, losses, batches and data are the same, as is the "
    "learning rate: {rate} No mixer got a rate of its own, which some of them may need. Equal times favour mixers "
    "whose steps are quick on a processor; the table has the steps that each of them took."
)


class Data(NamedTuple):
    """What a part trains and tests on: a folder, the manifest of the second test, options of train.py, and words."""

    folder: Path
    second: Path
    options: Sequence[str]
    words: str


@dataclass(frozen=True)
class Frame:
    """A network whose sequence model is exchanged: the recipe file that trains it, what is measured, its data."""

    recipe: str
    hparams: str
    options: Sequence[str]
    measures: Sequence[str]  # of the differences; the first one orders the table
    words: str
    make_data: Callable[[Path, Path], Data]
    more_minutes: float  # that a run takes over its training: start, validation, test, second test


def es_data(recordings: Path, folder: Path) -> Data:
    """The ES corpus and its second test."""
    corpus = realdata_corpora.make_data(recordings, "ES", folder)
    second = out_of_domain_corpus.make_manifest(recordings, "ES", folder)
    words = f"The ES corpus of `PolSESS/realdata.py` at 8 kHz: {realdata_corpora.in_words()}"
    return Data(corpus, second, (), f"{words} {out_of_domain_corpus.DESCRIPTION}")


def voicebank_data(recordings: Path, folder: Path) -> Data:
    """The set in VoiceBank's layout and its second test."""
    held_out = realdata_set.make_set(recordings, folder / "set", realdata_set.SET_SEED)
    second = out_of_domain_pairs.make_manifest(recordings, folder)
    words = f"The set of `VoiceBank/realdata.py` at 16 kHz: {realdata_set.in_words(folder / 'set', held_out)}"
    words += " " + out_of_domain_pairs.DESCRIPTION.format(**out_of_domain.sizes(second))
    return Data(folder / "set", second, [f"valid_speakers=[{', '.join(held_out)}]"], words)


FRAMES = {
    "es": Frame(
        "PolSESS",
        "spmamba_mini:tf_gridnet_mini",
        ("task=ES", "dynamic_mixing=true", "scoring_workers=2", SCORED),
        ("si_sdri", "pesq"),
        "The frame is TF-GridNet's (`tf_gridnet_mini`): a mixer along bins, one along frames, both in both directions, "
        "and one attention over all frames in each block. "
        + FAIR.format(rate="0.004, which was chosen with this frame's own LSTMs."),
        es_data,
        3.5,
    ),
    "voicebank": Frame(
        "VoiceBank",
        "bsrnn_mini:bsrnn_local_norms",
        (SCORED,),
        ("pesq", "si_sdri"),
        "The frame is BSRNN's with norms of each band or frame (`bsrnn_local_norms`): mixers along frames, forward in "
        "time, then mixers across bands, in both directions. "
        + FAIR.format(rate="0.002, which was chosen with this frame's own LSTMs and with MBS-Net."),
        voicebank_data,
        13.5,
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Check all names, then do the parts one after the other."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that runs and measurements are ended, too
    wanted = FRAMES if COSTS in options.parts else options.parts
    lines = {name: lines_of(FRAMES[name], options.mixers) for name in wanted}
    print(plan(options), flush=True)
    for name in options.parts:
        if name == COSTS:
            for frame, entries in lines.items():
                write_costs(options, frame, entries)
        else:
            with stage(f"data of {name}"):
                data = FRAMES[name].make_data(options.recordings, options.output / "data" / name)
            comparison.main(comparison_words(options, name, data))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--recordings", type=Path, metavar="FOLDER", help="with manifest.csv (default: shared/realdata)")
    add("--parts", nargs="+", choices=[*FRAMES, COSTS], default=[*FRAMES, COSTS], help="default: all")
    add("--mixers", nargs="+", default=list(MIXERS), help="default: %(default)s")
    add("--seeds", nargs="+", type=arguments.from_zero, default=list(SEEDS), help="default: %(default)s")
    add("--minutes", type=arguments.positive, help=f"of each training (default: {MINUTES:g})")
    add("--steps", type=arguments.count, help="optimizer steps of each training, in place of minutes")
    add("--output", type=Path, default=results_folder() / "mixers", help="data and runs (default: %(default)s)")
    add("--results", type=Path, help="Markdown file for all sections (default: each recipe's RESULTS.md)")
    add("--scores", type=Path, help="folder that keeps what finished runs measured, as in comparison.py")
    options = parser.parse_args(argv)
    if options.minutes and options.steps:
        raise UserError("give one budget: --minutes or --steps.")
    options.minutes = None if options.steps else options.minutes or MINUTES
    options.parts = list(dict.fromkeys(options.parts))
    options.output, options.recordings = options.output.resolve(), realdata_set.find_recordings(options.recordings)
    return options


def lines_of(frame: Frame, mixers: Sequence[str]) -> list[Entry]:
    """The networks of a frame, one for each mixer."""
    return entries_of(HERE / frame.recipe, [frame.hparams], mixers, MATCH, settings_of(frame))


def settings_of(frame: Frame) -> dict[str, str]:
    """The options of a frame by name."""
    return dict(word.split("=", 1) for word in frame.options)


def plan(options: argparse.Namespace) -> str:
    """Say what will happen and how long it takes."""
    runs = len(options.mixers) * len(options.seeds)
    trained = [name for name in options.parts if name != COSTS]
    total = sum(runs * ((options.minutes or 0) + FRAMES[name].more_minutes) for name in trained)
    total += mixers_costs.minutes(len(options.mixers) * len(FRAMES)) if COSTS in options.parts else 0.0
    budget = f"{options.steps} steps and what" if options.steps else f"{options.minutes:g} min and what"
    return (
        f"{', '.join(options.parts)}; {', '.join(options.mixers)}; {len(trained) * runs} trainings one at a time, each "
        f"{budget} start, validation and tests take. All of it takes about {total:.0f} min on two cores"
        f"{', and the steps' if options.steps else ''} if nothing is done yet. After a stop the same command goes on.\n"
        f"State in {options.output}"
    )


def comparison_words(options: argparse.Namespace, name: str, data: Data) -> list[str]:
    """The command line of comparison.py for a part."""
    frame = FRAMES[name]
    budget = ["--steps", str(options.steps)] if options.steps else ["--minutes", f"{options.minutes:g}"]
    words = [frame.recipe, "--hparams", frame.hparams, "--mixers", *options.mixers, "--match", MATCH]
    words += ["--data_folder", str(data.folder), "--second_test", str(data.second), "--measures", *frame.measures]
    words += ["--options", *frame.options, *data.options]
    words += ["--seeds", *map(str, options.seeds), *budget, "--jobs", "1", "--threads", str(THREADS)]
    words += ["--name", f"mixers_{name}", "--note", f"{data.words}\n\n{frame.words}\n\n{made_by(options, name)}"]
    words += ["--scores", str(options.scores / f"mixers_{name}")] if options.scores else []
    return [*words, "--output", str(options.output), "--results", str(page_of(options, name))]


def write_costs(options: argparse.Namespace, name: str, entries: Sequence[Entry]) -> None:
    """Measure a frame with each mixer, and write the section."""
    networks = mixers_costs.networks_of(entries, settings_of(FRAMES[name]))
    with stage(f"costs of {name}"):
        rows = mixers_costs.measure(networks, options.output / f"costs_{name}.json")
    text = mixers_costs.section(networks, rows, made_by(options, COSTS))
    page = page_of(options, name)
    replace_section(page, f"costs-mixers_{name}", text)
    print(f"\n{text}\n\nwritten to {page}", flush=True)


def page_of(options: argparse.Namespace, name: str) -> Path:
    """The page that gets the sections of a frame."""
    return (options.results or results_page(HERE / FRAMES[name].recipe)).resolve()


def made_by(options: argparse.Namespace, part: str) -> str:
    """The command that makes a part."""
    from lobes.runs.provenance import command

    words = ["--recordings", options.recordings.name, "--parts", part, "--mixers", *options.mixers]
    if part != COSTS:
        words += ["--seeds", *map(str, options.seeds)]
        words += ["--steps", str(options.steps)] if options.steps else ["--minutes", f"{options.minutes:g}"]
    return f"Made by `{command(__file__, words)}`."


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
