"""Fine-tuning: initialise a model from another one's weights and log which tensors were and were not loaded."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from lobes.errors import UserError, visible
from lobes.models.convert import current_keys
from lobes.runs import names
from lobes.runs.folder import best_checkpoint
from lobes.runs.hub import revision_of
from lobes.runs.listed import refuse_unlisted
from lobes.runs.locate import is_run_folder, locate
from lobes.runs.weights import check_sums, read_state

SHARE = 0.5  # of the parameters that must fit: with less it is another network
SHOWN = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """The names of the tensors that a transfer took, and of those that it did not."""

    taken: list[str]
    new: list[str]  # the model's own, without a counterpart
    reshaped: list[str]  # the model's own, of another shape there: heads for another number of sources
    unused: list[str]  # only there

    def __str__(self) -> str:
        lines = [f"{len(self.taken)} tensors taken"]
        names = (("new", self.new), ("of another shape, left as they start", self.reshaped), ("not used", self.unused))
        for what, found in names:
            if found:
                more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
                lines.append(f"{len(found)} {what}: {', '.join(found[:SHOWN])}{more}")
        return visible("; ".join(lines))


def start_from(model: nn.Module, source: str | os.PathLike[str], revision: str | None = None) -> Transfer:
    """Copy the weights that fit; what does not fit keeps its own start.

    Arguments
    ---------
    model : nn.Module
        A network of `lobes.models`.
    source : str or PathLike
        A run folder (its best checkpoint), an exported folder, one of SpeechBrain's separators, or a hub id.
    revision : str, optional
        Of a hub id: the hash of a commit, a tag or a branch.

    Returns
    -------
    Transfer
        Also written to the log.

    Raises
    ------
    UserError
        If there is no such model, a file is damaged, or fewer than half of the parameters fit.

    Example
    -------
    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({f"model.{k}": v for k, v in nn.Linear(2, 3).state_dict().items()}, f"{folder}/masknet.ckpt")
    ...     print(start_from(nn.Linear(2, 3), folder))
    2 tensors taken
    """
    state, own = current_keys(model, weights_of(source, revision)), model.state_dict()
    fits = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    transfer = Transfer(
        sorted(fits),
        sorted(own.keys() - state.keys()),
        sorted(name for name in own.keys() & state.keys() if name not in fits),
        sorted(state.keys() - own.keys()),
    )
    total, taken = (sum(value.numel() for value in tensors.values()) for tensors in (own, fits))
    if taken < SHARE * total:
        raise UserError(
            f"{source}: {taken:,} of {total:,} numbers fit this network ({transfer}). Take the recipe file that goes "
            "with these weights."
        )
    model.load_state_dict({**own, **fits})
    logger.info("started from %s: %s", source, transfer)
    return transfer


def weights_of(source: str | os.PathLike[str], revision: str | None = None) -> dict[str, Tensor]:
    """Weights of a model folder under the names of the networks here. Nothing is read but weights and their sums.

    Raises
    ------
    UserError
        If the folder is none of the kinds, or a file is damaged.
    """
    folder = locate(source, fetch_config=revision_of(revision))
    if is_run_folder(folder):
        return read_state(best_checkpoint(folder).folder / names.WEIGHTS)
    check_sums(folder)
    if all((folder / f"{part}.ckpt").is_file() for part in names.SEPFORMER_PARTS):
        refuse_unlisted(folder, [f"{part}.ckpt" for part in names.SEPFORMER_PARTS])
        states = {part: read_state(folder / f"{part}.ckpt") for part in names.SEPFORMER_PARTS}
        return {f"{part}.{name}": value for part, state in states.items() for name, value in state.items()}
    refuse_unlisted(folder, [names.MASKNET])
    state = read_state(Path(folder) / names.MASKNET)
    return {name.removeprefix("model."): value for name, value in state.items()}
