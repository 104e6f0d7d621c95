"""Loading an exported folder, or one of SpeechBrain's own, strictly and with short errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lobes.errors import UserError
from lobes.inference.spectral_mask import as_separator
from lobes.runs.listed import refuse_unlisted
from lobes.runs.safe_yaml import load_file
from lobes.runs.weights import check_sums, load_strictly


def load_folder(
    folder: Path,
    hparams_file: str,
    overrides: dict[str, Any] | None,
    needed: Sequence[str],
    trust: bool = False,
) -> dict[str, Any]:
    """Construct what a model folder's YAML file names and load its weights.

    Nothing but the classes and functions of `lobes.runs.callables` is run, and all files are taken from the folder.

    Arguments
    ---------
    folder : Path
        Holds the YAML file, one `.ckpt` for each of the pretrainer's loadables, perhaps `SHA256SUMS`.
    hparams_file : str
    overrides : dict, optional
        Changes to the YAML file.
    needed : sequence of str
        Names that must stand under `modules`.
    trust : bool
        Run whatever the YAML file names.

    Returns
    -------
    dict
        The hyperparameters; the networks stand under `modules`.

    Raises
    ------
    UserError
        If a file is missing or differs from its sha256, the YAML file wants to run what is not allowed, or the YAML
        file or the weights do not fit.
    """
    path = folder / hparams_file
    if not path.is_file():
        raise UserError(f"{folder}: no {hparams_file}, so neither a run folder nor an exported model.")
    check_sums(folder)
    refuse_unlisted(folder, [hparams_file])
    hparams = as_separator(_construct(path, overrides, trust))
    _check_keys(path, hparams, needed)
    _load_weights(hparams["pretrainer"], path)
    return hparams


def _construct(path: Path, overrides: dict[str, Any] | None, trust: bool) -> dict[str, Any]:
    try:
        return load_file(path, overrides, trust)
    except UserError:
        raise
    except Exception as error:  # a class may raise anything
        reason = " ".join(" ".join(map(str, error.args)).split()) or type(error).__name__
        raise UserError(f"{path}: cannot be loaded: {reason}") from error


def _check_keys(path: Path, hparams: dict[str, Any], needed: Sequence[str]) -> None:
    missing = [key for key in ("modules", "pretrainer", "num_spks", "sample_rate") if key not in hparams]
    modules = hparams.get("modules")
    modules = modules if isinstance(modules, Mapping) else {}
    missing += [f"modules: {key}" for key in needed if not isinstance(modules.get(key), nn.Module)]
    missing += [f"number {key}" for key in ("num_spks", "sample_rate") if not _is_count(hparams.get(key, 1))]
    if "pretrainer" not in missing and not hasattr(hparams["pretrainer"], "loadables"):
        missing.append("Pretrainer as pretrainer")
    if missing:
        found = ", ".join(missing)
        raise UserError(f"{path}: no {found}, so no separation model. Export a run: lobes export RUN OUT")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _load_weights(pretrainer: Any, path: Path) -> None:
    """Load the weights from the folder alone: nothing is fetched, and a file outside of it is not looked at."""
    for name, part in pretrainer.loadables.items():
        if not pretrainer.is_loadable(name):
            continue
        if not isinstance(part, nn.Module):
            raise UserError(f"{path}: the pretrainer's {name} is no network but a {type(part).__name__}.")
        file = Path(str(pretrainer.paths.get(name, f"{name}.ckpt"))).name
        refuse_unlisted(path.parent, [file])
        load_strictly(part, path.parent / file)
