"""Reading a training run's folder: its best checkpoint and its network, without the data or the optimiser."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lobes.errors import UserError, visible
from lobes.runs import names
from lobes.runs.checkpoints import FoundCheckpoint, fault_of, found, number, order_of
from lobes.runs.safe_yaml import allow, load_text, wishes_of
from lobes.runs.weights import load_strictly
from lobes.runs.yaml_nodes import read_text, tree_of

NETWORK = ("modules", "separator")  # keys of the network in a run folder's hyperparams.yaml
METRICS = ("si_sdri", "pesq")  # keys in the checkpoint's CKPT.yaml, one of which a recipe chooses by: the highest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder and what its CKPT.yaml says."""

    folder: Path
    meta: dict[str, Any]

    @property
    def score(self) -> float:
        """The validation metric; absent or not finite is the worst."""
        return number(next((self.meta[name] for name in METRICS if name in self.meta), None))


@dataclass(frozen=True)
class TrainedRun:
    """The network of a training run with its best weights, and their origin."""

    model: nn.Module
    num_sources: int
    sample_rate: int  # Hz
    model_yaml: str  # "model: !new:..." with everything below it
    settings: dict[str, Any]  # the plain top-level values of hyperparams.yaml
    header: list[str]  # the comment lines at its top: version, commit, command
    checkpoint: Checkpoint


def read_run(folder: str | Path, trust: bool = False) -> TrainedRun:
    """Make the network of a training run and load its best checkpoint.

    Only the separator's part of `hyperparams.yaml` is constructed: no data set, optimiser or logger.

    Arguments
    ---------
    folder : str or Path
        As `train.py` leaves it: `hyperparams.yaml` and `save/CKPT+*/`.
    trust : bool
        Run whatever the network's part names, see `lobes.runs.safe_yaml`.

    Returns
    -------
    TrainedRun

    Raises
    ------
    UserError
        If it is no run folder, has no usable checkpoint, its network wants to run what is not allowed, or the weights
        do not fit or are not finite.
    """
    folder = Path(folder)
    tree, header = read_hyperparams(folder)
    model_yaml = _model_yaml(folder, tree)
    path = folder / names.HYPERPARAMS
    trusted = allow(wishes_of(path, read_text(path), below=NETWORK, resolved=True), trust)
    model = make_model(model_yaml, path, trusted)
    checkpoint = _load_best(model, folder)
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise UserError(
            f"{checkpoint.folder / names.WEIGHTS}: {len(bad)} tensors are not finite, the first is {bad[0]}."
        )
    sources, rate = (_count_of(model, name, path) for name in ("num_sources", "sample_rate"))
    settings = {key: value for key, value in tree.items() if isinstance(value, str | int | float | bool)}
    # Frozen, as in the interfaces: PyTorch runs frozen LSTMs and attention by other kernels, with other last digits.
    model.eval().requires_grad_(False)
    return TrainedRun(model, sources, rate, model_yaml, settings, header, checkpoint)


def best_checkpoint(folder: str | Path) -> Checkpoint:
    """Choose the run's checkpoint of the highest validation SI-SDRi, or PESQ for enhancement.

    A NaN or a missing value is the worst, and among equals the newest is taken. A checkpoint folder without a
    readable CKPT.yaml or without the separator's weights (a write that was cut off) is left out, with a warning.

    Raises
    ------
    UserError
        If there is no usable checkpoint, or the weights of the best one are not as they were written.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name, score in (("a", 2.0), ("b", 3.0), ("c", ".nan")):
    ...         checkpoint = Path(folder, "save", f"CKPT+{name}")
    ...         checkpoint.mkdir(parents=True)
    ...         _ = (checkpoint / "CKPT.yaml").write_text(f"si_sdri: {score}")
    ...         _ = (checkpoint / names.WEIGHTS).write_bytes(b"weights")
    ...     best_checkpoint(folder).score
    3.0
    """
    save = Path(folder) / names.SAVE
    usable = [checkpoint for one in found(save) if (checkpoint := _usable(one))]
    if not usable:
        raise UserError(
            f"{save}: no usable checkpoint (CKPT+*/{names.WEIGHTS}). Train first: python train.py hparams/NAME.yaml"
        )
    best = max(usable, key=lambda checkpoint: (checkpoint.score, order_of(checkpoint.folder, checkpoint.meta)))
    if fault := fault_of(best.folder, only=[names.WEIGHTS]):
        if not best.folder.is_dir():  # a training that goes on has replaced it
            return best_checkpoint(folder)
        raise UserError(
            f"{best.folder}: {fault}. Bring it back from a copy, or start the training's command again: it sets this "
            "checkpoint aside and tests the next best one."
        )
    if math.isinf(best.score):
        scores = " or ".join(METRICS)
        logger.warning(
            "%s: no checkpoint has a validation %s; taking the newest, %s", save, scores, visible(best.folder.name)
        )
    return best


def make_model(model_yaml: str, where: str | Path, trust: bool = False) -> nn.Module:
    """Construct the network from YAML text with the single key `model`; `where` is its file, for messages.

    Raises
    ------
    UserError
        If a class or an argument in it does not exist, or, without `trust`, is not allowed.

    Example
    -------
    >>> text = "model: !new:speechbrain.lobes.models.dual_path.Encoder {kernel_size: 16, out_channels: 8}"
    >>> make_model(text, "x.yaml").conv1d.out_channels
    8
    """
    try:
        model = load_text(model_yaml, Path(where), trust)["model"]
    except UserError:
        raise
    except Exception as error:  # a class may raise anything
        raise UserError(f"{where}: the separator cannot be made: {' '.join(map(str, error.args))}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"{where}: expected a network as the separator, got a {type(model).__name__}.")
    return model


def read_hyperparams(folder: Path) -> tuple[Any, list[str]]:
    """The resolved file of a run folder as a YAML tree, in which nothing is constructed, and the lines at its top.

    Raises
    ------
    UserError
        If there is no such file, or it is no YAML.
    """
    path = folder / names.HYPERPARAMS
    if not path.is_file():
        raise UserError(f"{folder}: no {names.HYPERPARAMS}, so no run folder. Expected the output_folder of train.py.")
    text = read_text(path)
    tree = tree_of(text, path)
    header = [line.removeprefix("# ") for line in text.splitlines()[:10] if line.startswith("#")]
    return tree, header


def _load_best(model: nn.Module, folder: Path) -> Checkpoint:
    """Load the best weights, and the new best ones where a training that goes on has just replaced them."""
    checkpoint = best_checkpoint(folder)
    try:
        load_strictly(model, checkpoint.folder / names.WEIGHTS)
    except UserError:
        if checkpoint.folder.is_dir():
            raise
        return _load_best(model, folder)
    return checkpoint


def _count_of(model: nn.Module, name: str, path: Path) -> int:
    """A number of the network, which its file may have set to anything."""
    value = getattr(model, name, None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{path}: expected a separator with a whole number {name}, got {value!r}.")
    return value


def _model_yaml(folder: Path, tree: Any) -> str:
    from ruamel.yaml import YAML

    node = tree
    for key in NETWORK:
        node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        raise UserError(f"{folder / names.HYPERPARAMS}: no `modules: separator:`, so this is no run of a Lobes recipe.")
    _drop_comments(node)
    text = StringIO()
    YAML().dump({"model": node}, text)  # aliases to outside of the node become whole nodes here
    return text.getvalue()


def _drop_comments(node: Any) -> None:
    """Remove comments: ruamel hangs a section's title on the last key of the section before."""
    from ruamel.yaml.comments import Comment

    if hasattr(node, Comment.attrib):
        delattr(node, Comment.attrib)
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _drop_comments(child)


def _usable(one: FoundCheckpoint) -> Checkpoint | None:
    if not one.fault and (one.path / names.WEIGHTS).is_file():
        return Checkpoint(one.path, one.meta)
    logger.warning("%s: left out, %s", visible(str(one.path)), one.fault or f"{names.WEIGHTS} is missing")
    return None
