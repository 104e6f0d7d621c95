"""The `lobes` command. A sub-command imports what it needs when it runs, so that `lobes --help` is quick."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from lobes import __version__
from lobes.errors import UserError, exit_on_user_error

# Newer typer carries a copy of click, older typer uses the package: its errors' base is found by name.
_CLICK_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_NUMBERS = {
    int: (re.compile(r"[+-]?[0-9]{1,18}"), "a whole number"),
    float: (re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"), "a number"),
}


class _Command(TyperCommand):
    """Refuses what typer takes in silence: an option twice, an empty text, `1_0`, `inf` and numbers without end."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            given, _, order = self.make_parser(ctx).parse_args(list(args))
        except _CLICK_ERROR as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # whose --help helps
            raise
        hints = get_type_hints(self.callback)
        for param in order:
            where = max(param.opts, key=len) if param.param_type_name == "option" else param.name.upper()
            several = getattr(param, "multiple", True) or param.is_eager
            problem = " is given twice. Leave one of them out" if order.count(param) > 1 and not several else ""
            problem = problem or _problem(given[param.name], hints.get(param.name))
            if problem:
                raise UserError(f"{where}{problem}. See: {ctx.command_path} --help")
        return super().parse_args(ctx, args)


def _problem(text: Any, kind: Any) -> str:
    """What is wrong with a text that was typed, or nothing."""
    if isinstance(text, list | tuple):
        return next(filter(None, (_problem(one, kind) for one in text)), "")
    if text == "":
        return " is empty: expected a value"
    number = next((one for one in (kind, *get_args(kind)) if one in _NUMBERS), None)
    if number is None or not isinstance(text, str):
        return ""
    pattern, words = _NUMBERS[number]
    fits = pattern.fullmatch(text) and math.isfinite(float(text))
    return "" if fits else f": expected {words}, got {text!r}"


class _App(typer.Typer):
    def command(self, *arguments: Any, **options: Any) -> Any:
        return super().command(*arguments, **{"cls": _Command, **options})


app = _App(
    help="Speech separation and enhancement with state-space models. To train, see recipes/.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich costs a third of the start-up time
    pretty_exceptions_enable=False,
)


Model = Annotated[
    str,
    typer.Argument(
        help="A run folder, an exported folder, a hub id owner/name, or package.module:factory, which is imported and "
        "called: code of yours."
    ),
]
Revision = Annotated[str | None, typer.Option(help="Of a hub id: the hash of the commit to take.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run whatever the model's folder names, as a program of its author; says what."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lobes {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def corpus(
    out: Annotated[Path, typer.Argument(help="The corpus becomes OUT/NAME.")],
    name: Annotated[str, typer.Option(help="Name of the corpus.")] = "mini",
    speech: Annotated[list[Path] | None, typer.Option(help="One folder per speaker; else espeak-ng speaks.")] = None,
    scenes: Annotated[list[Path] | None, typer.Option(help="One folder per scene class; else synthesised.")] = None,
    events: Annotated[list[Path] | None, typer.Option(help="One folder per event class; else synthesised.")] = None,
    rirs: Annotated[list[Path] | None, typer.Option(help="Folder of room responses; else simulated.")] = None,
    train: Annotated[int, typer.Option(help="Mixtures to train on.", min=0)] = 160,
    val: Annotated[int, typer.Option(help="Mixtures to validate on.", min=0)] = 24,
    test: Annotated[int, typer.Option(help="Mixtures to test on.", min=0)] = 32,
    sample_rate: Annotated[int, typer.Option(help="In Hz.", min=1)] = 8000,
    seconds: Annotated[float, typer.Option(help="Length of a mixture.", min=0.1)] = 4.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1234,
    indoor_share: Annotated[float, typer.Option(help="Share of mixtures in rooms.", min=0, max=1)] = 0.75,
    indoor_classes: Annotated[
        list[str] | None, typer.Option("--indoor-class", help="A further scene class that is indoors.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a corpus made before.")] = False,
) -> None:
    """Make a corpus in the PolSESS format."""
    from lobes.polsess.corpus import make_corpus
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(out, "OUT")
    try:
        folder = make_corpus(
            out,
            name=name,
            speech=speech or None,
            scenes=scenes or None,
            events=events or None,
            rirs=rirs or None,
            counts={"train": train, "val": val, "test": test},
            sample_rate=sample_rate,
            seconds=seconds,
            seed=seed,
            indoor_share=indoor_share,
            indoor_classes=indoor_classes or (),
            overwrite=overwrite,
        )
    except UserError as error:
        raise UserError(_as_options(str(error))) from error
    print(f"wrote {folder}")


@app.command()
def models(
    table: Annotated[bool, typer.Option("--table", help="Sizes and costs as a Markdown table.")] = False,
) -> None:
    """List the model presets."""
    if table:
        from lobes.evaluation import complexity

        print(complexity.table())
        return
    from lobes.models import list_models

    print("\n".join(list_models()))


@app.command()
def separate(
    model: Model,
    files: Annotated[list[Path], typer.Argument(help="Audio files, at any sample rate.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for <name>_s1.wav, <name>_s2.wav ...")],
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default the GPU if any.")] = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Separate or enhance audio files."""
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(out, "--out")
    separator = _load(model, device, revision, trust)
    for written in separator.separate_files(files, out):
        print("\n".join(map(str, written)))


@app.command()
def enhance(
    model: Model,
    files: Annotated[list[Path], typer.Argument(help="Audio files, at any sample rate.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for <name>_enhanced.wav.")],
    pcs: Annotated[bool, typer.Option("--pcs", help="Also <name>_enhanced_pcs.wav, with stretched contrast.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default the GPU if any.")] = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Enhance audio files."""
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(out, "--out")
    enhancer = _load(model, device, revision, trust)
    for written in enhancer.enhance_files(files, out, pcs):
        print("\n".join(map(str, written)))


@app.command()
def evaluate(
    model: Model,
    data: Annotated[
        Path, typer.Option(help="A manifest: CSV with ID, mix_wav, s1_wav, s2_wav ...; paths from its folder.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for per_utterance.csv and summary.json.")],
    data_root: Annotated[
        Path | None, typer.Option("--data-root", "--data_root", help="What $data_root in the manifest stands for.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of PolSESS: ES, EB or SB; by default the model's.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Such as si_sdr, pesq; by default the usual four.")] = None,
    workers: Annotated[int | None, typer.Option(help="Scoring processes; 0 scores in this one.", min=0)] = None,
    save_audio: Annotated[int, typer.Option(help="Write so many items as audio.", min=0)] = 0,
    group_by: Annotated[str | None, typer.Option(help="A column whose values count equally in the means.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default the GPU if any.")] = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Score a model, and the untouched mixtures, on a data set, whatever the model was trained on."""
    from lobes.evaluation.manifest import evaluate as evaluate_manifest
    from lobes.evaluation.manifest import open_manifest
    from lobes.evaluation.summary import format_table
    from lobes.metrics import METRICS
    from lobes.metrics.utterance import check_metrics
    from lobes.polsess.fixed import layout_of
    from lobes.training.checks import refuse_unwritable

    check_metrics(metric or METRICS)
    refuse_unwritable(out, "--out")
    manifest = open_manifest(data, data_root)  # before the model is loaded
    separator = _load(model, device, revision, trust)

    def separate(mix: Any) -> Any:
        return separator.separate_batch(mix)[0].detach().float().cpu().numpy()

    def layout(row: Any) -> Any:
        return layout_of(row, separator.num_sources, task, separator.task)

    summary = evaluate_manifest(
        separate, separator.num_sources, separator.sample_rate, manifest, out, None, metric or METRICS, workers,
        save_audio, group_by, layout,
    )  # fmt: skip
    print(format_table(summary))
    print(f"wrote {out}")


@app.command()
def compare(
    systems: Annotated[
        list[str], typer.Argument(help="Runs, evaluations or CSV files; NAME=PLACE,PLACE for several trainings of one.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for comparison.md, .svg and .json.")] = None,
    measure: Annotated[list[str] | None, typer.Option(help="Such as si_sdr, pesq; by default all in common.")] = None,
    speakers: Annotated[
        Path | None,
        typer.Option(help="A table with ID and speaker, speaker2 ...; by default columns of the first table."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", "--group_by", help="A column whose values count equally in the means.")
    ] = None,
    level: Annotated[float, typer.Option(help="Of the intervals, from 0.5 to below 1.")] = 0.95,
) -> None:
    """Say which system is better: paired differences on the same utterances, with intervals."""
    from lobes.evaluation.comparison import compare as compare_systems
    from lobes.evaluation.score_tables import read_speakers, read_systems
    from lobes.reports import differences
    from lobes.training.checks import refuse_unwritable

    if out is not None:
        refuse_unwritable(out, "--out")
    found = read_systems(systems)
    known = read_speakers(speakers, found[0].tables[0])
    result = compare_systems(found, measure or (), known, group_by, level)
    page = differences.as_page(result, bool(known))
    print(page)
    if out is not None:
        differences.write(out, page, result)
        print(f"wrote {out}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Output folder of a training run; its best checkpoint counts.")],
    out: Annotated[Path, typer.Argument(help="New folder, or an earlier export.")],
    trust: Trust = False,
) -> None:
    """Export a run for SpeechBrain's interface."""
    from lobes.inference import export_pretrained
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(out, "OUT")
    folder = export_pretrained(run, out, trust)
    print(f"wrote {folder}: reloaded through SpeechBrain and Separator, equal bit for bit")


@app.command(
    options_metavar="[RECIPE.yaml --data_folder FOLDER ...] [OPTIONS]",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def doctor(
    ctx: typer.Context,
    data: Annotated[
        str | None, typer.Option(help="A manifest, a folder with train.csv ..., or with --recipe a data folder.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--recipe", help="How --data is read: PolSESS, VoiceBank ... or a recipe file.")
    ] = None,
    data_root: Annotated[
        str | None, typer.Option("--data-root", "--data_root", help="What $data_root in manifests stands for.")
    ] = None,
) -> None:
    """Find what is wrong before a training does: the machine, the data, one batch of a recipe.

    lobes doctor: versions, threads, GPU, scan backends, compiler, disk, memory. With --output_folder FOLDER, the disk
    of that folder.

    lobes doctor --data FOLDER [--recipe PolSESS [OPTIONS OF THE RECIPE]]: files, rates, sums, silence, speakers.

    lobes doctor RECIPE.yaml --data_folder FOLDER [OPTIONS OF THE RECIPE]: all of these, and one training step and one
    validation batch in a temporary folder, with their memory and the hours that an epoch takes.

    Each check prints `ok`, `warn` or `FAIL`. Exit code 0: no FAIL; 1: some FAIL; 2: the command was wrong.
    """
    from lobes.doctor.command import doctor as run_checks

    sys.exit(run_checks(ctx.args, data, of, data_root))


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit code 2."""
    with exit_on_user_error():
        sys.exit(_run(app))


def _run(command: Any) -> int:
    """Call the app without click's own error output, which takes four lines."""
    try:
        return command(prog_name="lobes", standalone_mode=False) or 0
    except typer.Abort:
        print("stopped", file=sys.stderr)
        return 130
    except _CLICK_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 2
        where = getattr(getattr(error, "ctx", None), "command_path", "lobes")
        message = error.format_message()
        stop = "" if message.endswith((".", "?")) else "."
        raise UserError(f"{message}{stop} See: {where} --help") from error


_ARGUMENT = re.compile(r"(?<![\w-])(name|speech|scenes|events|rirs|sample_rate|seconds|seed|indoor_share)=")


def _as_options(message: str) -> str:
    """A message of `make_corpus`, which names its arguments, in the words of the command line."""
    message = _ARGUMENT.sub(lambda match: f"--{match[1].replace('_', '-')} ", message)
    message = re.sub(r"(?<![\w-])(train|val|test)=(?=-?\d)", r"--\1 ", message.replace("counts: ", ""))
    message = re.sub(r"counts of (train|val|test) to 0", r"--\1 0", message)
    for argument, option in (("indoor_classes", "--indoor-class"), ("indoor_share", "--indoor-share")):
        message = message.replace(f" {argument}", f" {option}")
    return message.replace("indoor_classes: ", "--indoor-class: ").replace("Set overwrite", "Give --overwrite")


def _load(model: str, device: str | None, revision: str | None, trust: bool) -> Any:
    from lobes.inference import Separator
    from lobes.runs.hub import revision_of

    return Separator.from_hparams(model, fetch_config=revision_of(revision), trust=trust, run_opts=_run_opts(device))


def _run_opts(device: str | None) -> dict[str, str]:
    if device is None:
        return {}
    from lobes.config.device import check_device

    check_device(device)
    return {"device": device}


if __name__ == "__main__":
    main()
