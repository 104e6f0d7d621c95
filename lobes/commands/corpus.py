"""The command `lobes corpus`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lobes.commands.corpus_words import as_options
from lobes.errors import UserError


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
        raise UserError(as_options(str(error))) from error
    print(f"wrote {folder}")
