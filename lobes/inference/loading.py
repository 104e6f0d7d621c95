"""Loading an exported folder, or one of SpeechBrain's own, strictly and with short errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lobes.errors import UserError
from lobes.runs.weights import check_sums, load_strictly


def load_folder(
    folder: Path, hparams_file: str, overrides: dict[str, Any] | None, needed: Sequence[str]
) -> dict[str, Any]:
    """Construct what a model folder's YAML file names and load its weights.

    Arguments
    ---------
    folder : Path
        Holds the YAML file, one `.ckpt` for each of the pretrainer's loadables, perhaps `SHA256SUMS`.
    hparams_file : str
    overrides : dict, optional
        Changes to the YAML file.
    needed : sequence of str
        Names that must stand under `modules`.

    Returns
    -------
    dict
        The hyperparameters; the networks stand under `modules`.

    Raises
    ------
    UserError
        If a file is missing or differs from its sha256, or the YAML file or the weights do not fit.
    """
    path = folder / hparams_file
    if not path.is_file():
        raise UserError(f"{folder}: no {hparams_file}, so neither a run folder nor an exported model.")
    check_sums(folder)
    hparams = _construct(path, overrides)
    _check_keys(path, hparams, needed)
    _load_weights(hparams["pretrainer"], folder)
    return hparams


def _construct(path: Path, overrides: dict[str, Any] | None) -> dict[str, Any]:
    from hyperpyyaml import load_hyperpyyaml

    try:
        with path.open(encoding="utf-8") as file:
            return load_hyperpyyaml(file, overrides)
    except Exception as error:  # it constructs whatever the file names, so anything may come
        reason = " ".join(map(str, error.args)) or type(error).__name__
        raise UserError(f"{path}: cannot be loaded: {reason}") from error


def _check_keys(path: Path, hparams: dict[str, Any], needed: Sequence[str]) -> None:
    missing = [key for key in ("modules", "pretrainer", "num_spks", "sample_rate") if key not in hparams]
    missing += [f"modules: {key}" for key in needed if key not in hparams.get("modules", {})]
    if missing:
        names = ", ".join(missing)
        raise UserError(f"{path}: no {names}, so no separation model. Export a run: lobes export RUN OUT")


def _load_weights(pretrainer: Any, folder: Path) -> None:
    networks = [name for name, part in pretrainer.loadables.items() if isinstance(part, nn.Module)]
    pretrainer.add_custom_hooks(dict.fromkeys(networks, load_strictly))
    pretrainer.collect_files(default_source=str(folder))
    pretrainer.load_collected()
