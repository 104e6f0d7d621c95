"""The command `lobes shard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def shard(
    manifests: Annotated[
        list[Path],
        typer.Argument(help="CSV files, such as train.csv, valid.csv and test.csv in the save folder of a run."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Gets a folder of shards for each manifest.")],
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", "--data_root", help="What $data_root in the manifests stands for."),
    ] = None,
    megabytes: Annotated[float, typer.Option(help="Most of a shard, in millions of bytes.", min=1)] = 1000.0,
    seed: Annotated[int, typer.Option(help="Of the order of the examples.", min=0)] = 0,
) -> None:
    """Write the examples of manifests into shards, for --data_format shards; the same call again goes on."""
    from lobes.data.shards.writing import write_shards
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(out, "--out")
    for manifest in manifests:
        print(f"wrote {write_shards(manifest, out, data_root, seed, megabytes)}")
