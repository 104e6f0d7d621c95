"""Evaluate a trained model on a manifest: any data set, whatever it was trained on. T samples, S sources."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.manifest import SPLITS, shorten
from lobes.data.paths import PLACEHOLDER
from lobes.data.shards.index import MANIFEST, root_of
from lobes.data.shards.member import file_of
from lobes.data.tables import read_table
from lobes.errors import UserError
from lobes.evaluation.candidates import Asked, OneFunction
from lobes.evaluation.items import CheckedItems, Manifest, Row, RowLayout, sources_of
from lobes.evaluation.recognisers import POCKETSPHINX
from lobes.evaluation.several import evaluate_one
from lobes.metrics.utterance import METRICS
from lobes.runs import names

TEST = f"{SPLITS[-1]}.csv"

Separate = Callable[[np.ndarray], np.ndarray]  # a mixture [T] to its sources [T,S]


def evaluate(
    separate: Separate,
    num_sources: int,
    sample_rate: int,
    manifest: str | os.PathLike[str] | Manifest,
    out_folder: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] = METRICS,
    workers: int | None = None,
    audio_items: int = 0,
    group_by: str | None = None,
    layout_of: Callable[[Row], RowLayout | None] = lambda row: None,
    recogniser: str = POCKETSPHINX,
    trust: bool = False,
) -> dict[str, Any]:
    """Separate every mixture of a manifest and score it, and the untouched mixture, against its sources.

    Metrics, manifest and all files are checked before the first item is separated. For several systems at once:
    `lobes.evaluation.several.evaluate_several`, and on the command line `lobes evaluate`.

    Arguments
    ---------
    separate : callable
        The model: a mixture [T] at `sample_rate`, float32, to its sources [T,S].
    num_sources, sample_rate : int
        What the model gives, and the rate in Hz that it wants.
    manifest : str, PathLike or Manifest
        What `open_manifest` takes, or what it has read, which is not read again; `data_root` is then its own.
    out_folder : str or PathLike
        Gets `per_utterance.csv`, `summary.json` and `audio/`.
    data_root : str or PathLike, optional
        What `$data_root` in the manifest stands for; the manifest's folder if not given.
    metrics : sequence of str
        As in `lobes.metrics.score`.
    workers : int, optional
        Scoring processes, as in `lobes.evaluation.scoring.score_many`.
    audio_items : int
        So many items are written as audio.
    group_by : str, optional
        A column of the manifest whose values count equally in the means; by default that of the layout, if any.
    layout_of : callable
        From the filled columns, how rows become items; None: mix_wav and s1_wav ... are mixture and sources.
    recogniser, trust
        For wer, as in `ScoreJob`.

    Returns
    -------
    dict
        The summary of `lobes.evaluation.summary.summarise`.

    Raises
    ------
    UserError
        Unknown metric, another number of sources than the model's, missing or damaged files, sources of another length
        or rate than their mixture.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data import audio
    >>> clean, noise = np.random.default_rng(0).standard_normal((2, 4000)) / 10
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/clean.wav", clean, 8000)
    ...     audio.write(f"{folder}/mix.wav", clean + noise, 8000)
    ...     _ = Path(folder, "test.csv").write_text("ID,mix_wav,s1_wav\\na,mix.wav,clean.wav\\n")
    ...     options = {"metrics": ["si_sdr"], "workers": 0}
    ...     summary = evaluate(lambda mix: mix[:, None], 1, 8000, f"{folder}/test.csv", f"{folder}/out", **options)
    >>> summary["n"], round(summary["mean"]["si_sdri"])
    (1, 0)
    """
    asked = Asked(metrics, recogniser, trust)
    opened = manifest if isinstance(manifest, Manifest) else open_manifest(manifest, data_root)
    items = CheckedItems(opened, num_sources, sample_rate, metrics, group_by, layout_of)
    model = OneFunction(separate, num_sources, sample_rate)
    return evaluate_one(model, items, Path(out_folder), asked, workers, audio_items)


def open_manifest(manifest: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None) -> Manifest:
    """Read the table of a manifest, before a model is loaded; no audio file is read.

    `rows` have paths of the mixture and the sources that can be opened; those of other columns are as they are written.

    Arguments
    ---------
    manifest : str or PathLike
        A table with ID, mix_wav, s1_wav ..., for wer also text or s1_text ...; other columns are not read. Paths are
        relative to its folder. Or the folder of a training run: its test set. Or a folder of shards.
    data_root : str or PathLike, optional
        What `$data_root` stands for. By default, for a run's test set the run's data folder where that is there, for
        shards the folder that theirs is in, and else the table's own folder.

    Raises
    ------
    UserError
        No manifest, a column or a cell is missing, no `data_root` where the paths need one.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "test.csv").write_text("ID,mix_wav,s1_wav\\na,m.wav,s.wav\\n")
    ...     open_manifest(f"{folder}/test.csv").rows[0]["mix_wav"] == f"{folder}/m.wav"
    True
    """
    run = _run_of(Path(manifest))
    if run is not None and os.path.isdir(manifest):
        manifest = _test_set_of(run)
    if root_of(shards := Path(manifest, MANIFEST)):
        manifest = shards
    if os.path.isdir(manifest):
        inside = sorted(path.name for path in Path(manifest).glob("*.csv"))
        found = f"it holds {shorten(inside)}" if inside else "it holds no CSV file"
        raise UserError(f"{manifest}: is a folder, expected a manifest, a CSV with ID, mix_wav, s1_wav ...; {found}.")
    if data_root is not None and not os.path.isdir(data_root):
        raise UserError(f"--data-root {data_root}: no such folder.")
    settings = {} if run is None else _settings_of(run)
    if data_root is None and os.path.isdir(str(settings.get("data_folder") or "")):
        data_root = str(settings["data_folder"])
    root = data_root or str(root_of(manifest) or os.path.dirname(os.path.abspath(manifest)))
    table = read_table(manifest, ("ID", "mix_wav"), root)
    rows = table.resolved(root, lambda row: ["mix_wav"])
    needs_root = any(PLACEHOLDER.match(row["mix_wav"]) for row in table.rows)
    if data_root is None and needs_root and not any(file_of(row["mix_wav"]).is_file() for row in rows):
        raise UserError(
            f"{manifest}: its paths begin with $data_root, and the files are not in its own folder. Add --data-root "
            "FOLDER, the data folder that it was prepared from."
        )
    task = settings.get("task")
    return Manifest(manifest, table, root, table.resolved(root, _by_default), str(task) if task else None)


def _by_default(row: Row) -> list[str]:
    return ["mix_wav", *sources_of(row)]


# ---- the test set of a training run
def _run_of(place: Path) -> Path | None:
    """The run folder that a place is, or whose saved test set it is."""
    run = place if place.is_dir() else place.parent.parent
    is_place = place in (run, run / names.SAVE / TEST)
    return run if is_place and (run / names.HYPERPARAMS).is_file() else None


def _settings_of(run: Path) -> Any:
    from lobes.runs.folder import read_hyperparams  # with PyTorch, which a process that scores may not need

    return read_hyperparams(run)[0]


def _test_set_of(run: Path) -> Path:
    """The manifest of a run's test, which its recipe saves in its `save_folder`."""
    saved = _settings_of(run).get("save_folder")
    for folder in (run / names.SAVE, *([Path(str(saved))] if saved else [])):
        if (folder / TEST).is_file():
            return folder / TEST
    raise UserError(
        f"{run}: is the folder of a run or a model, and has no test set, {names.SAVE}/{TEST}. Give a manifest, a CSV "
        "with ID, mix_wav, s1_wav ..."
    )
