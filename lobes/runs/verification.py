"""The reading half of the checkpointer: rank the checkpoints, verify one before the first object is loaded, load it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechbrain.utils import checkpoints as stock

from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.checkpoints import (
    END_OF_EPOCH,
    FILES,
    PART,
    STEP,
    fault_of,
    first_whole,
    found,
    in_words,
    none_whole,
    number,
    order_of,
    parts_of,
)
from lobes.runs.main_process import on_main

Key = Callable[[stock.Checkpoint], Any]

logger = logging.getLogger(__name__)


class VerifyingCheckpointer(stock.Checkpointer):
    """SpeechBrain's Checkpointer, which loads a checkpoint only when every file is as it was written.

    The newest checkpoint is the one of the most steps, not of the latest clock. A score that is no finite number is
    never the best. A damaged checkpoint is renamed to `BAD+...` and the next one is taken, in one message; where none
    can be used, nothing is changed and a UserError ends the command.
    """

    only_reads = False  # True: nothing is renamed or removed, for a test next to a training

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._noted = False  # that a checkpoint has no sums

    def add_recoverables(self, recoverables: Mapping[str, Any]) -> None:
        """Register objects, all of which a checkpoint must have."""
        super().add_recoverables(recoverables)
        for name in recoverables:
            self.optional_recoverables.setdefault(name, False)

    # ---- rank

    def list_checkpoints(self) -> list[stock.Checkpoint]:
        """All checkpoints whose CKPT.yaml can be read; their other files are verified when one is loaded."""
        return [as_stock(one.path, one.meta) for one in found(self.checkpoints_dir) if not one.fault]

    def find_checkpoints(
        self,
        importance_key: Key | None = None,
        max_key: str | None = None,
        min_key: str | None = None,
        ckpt_predicate: Callable[[stock.Checkpoint], bool] | None = None,
        max_num_checkpoints: int | None = None,
    ) -> list[stock.Checkpoint]:
        """Rank the checkpoints: the newest first, or those of the highest importance; among equals the newest first.

        The arguments are SpeechBrain's. Its `ckpt_recency` stands for the order of this class.
        """
        if sum(key is not None for key in (importance_key, max_key, min_key)) > 1:
            raise ValueError("Must specify only one of 'importance_key', 'max_key', and 'min_key'.")
        ranked = [one for one in self.list_checkpoints() if ckpt_predicate is None or ckpt_predicate(one)]
        ranked.sort(key=lambda one: order_of(one.path, one.meta), reverse=True)
        key, sign = max_key or min_key, 1 if max_key else -1
        if key is not None:
            ranked = [one for one in ranked if key in one.meta]
            ranked.sort(key=lambda one: number(sign * number(one.meta[key])), reverse=True)
        elif importance_key is not None and importance_key is not stock.ckpt_recency:
            ranked.sort(key=importance_key, reverse=True)
        return ranked[:max_num_checkpoints]

    # ---- choose

    def recover_if_possible(
        self,
        importance_key: Key | None = None,
        max_key: str | None = None,
        min_key: str | None = None,
        ckpt_predicate: Callable[[stock.Checkpoint], bool] | None = None,
    ) -> stock.Checkpoint | None:
        """Load the newest checkpoint, or the best one, among those that are as they were written.

        The arguments are SpeechBrain's, as are the results: the checkpoint, or None where there is none.

        Raises
        ------
        UserError
            If there are checkpoints and none can be used, or the one that was chosen does not fit the objects.
        """
        chosen = on_main(self._choose, importance_key, max_key, min_key, ckpt_predicate)
        if chosen is None:
            logger.debug("no checkpoint in %s yet", self.checkpoints_dir)
            return None
        try:
            self._call_load_hooks(chosen)
        except UserError:
            if chosen.path.is_dir() or not self.only_reads:
                raise
            return self.recover_if_possible(importance_key, max_key, min_key, ckpt_predicate)  # it has been replaced
        return chosen

    def _choose(self, *keys: Any) -> stock.Checkpoint | None:
        if not self.only_reads:
            self._remove_partial()
        path, faults = first_whole(lambda: self._candidates(*keys), self._needed())
        if path is None and faults:
            raise none_whole(self.checkpoints_dir, faults)
        if path is None:
            return None
        chosen = next((one for one in self.list_checkpoints() if one.path == path), None)
        if chosen is None:  # a training that goes on has replaced it
            return self._choose(*keys)
        self._set_aside(faults, chosen)
        if FILES not in chosen.meta and not self._noted:
            self._noted = True
            logger.warning("%s has no checksums, as in earlier versions: its files are taken as they are.", path)
        return chosen

    def _candidates(self, *keys: Any) -> list[Path]:
        """In the order of choice; first those whose CKPT.yaml cannot be read, since nobody knows their place."""
        unknown = [one.path for one in found(self.checkpoints_dir) if one.fault]
        return unknown + [one.path for one in self.find_checkpoints(*keys)]

    def _needed(self) -> list[str]:
        if self.allow_partial_load:
            return []
        return [name + PART for name in self.recoverables if not self.optional_recoverables.get(name)]

    def _set_aside(self, faults: Mapping[Path, str], chosen: stock.Checkpoint | None = None) -> None:
        """Take damaged checkpoints out of the way, never delete them, and say so once."""
        if not faults:
            return
        there = "left where they are" if self.only_reads else f"set aside as {names.BAD}..."
        for path in () if self.only_reads else faults:
            os.rename(path, free(path.with_name(names.BAD + path.name)))
        instead = "" if chosen is None else f", {chosen.path.name} of step {chosen.meta.get(STEP, '?')} is used instead"
        logger.warning("%s: damaged and %s (%s)%s", self.checkpoints_dir, there, in_words(faults), instead)

    def _remove_partial(self) -> None:
        """Remove what a kill in the middle of a save or a deletion has left."""
        for path in self.checkpoints_dir.glob(f"{names.PARTIAL}*"):
            remove(path, ignore_errors=True)

    # ---- load

    def load_checkpoint(self, checkpoint: stock.Checkpoint) -> None:
        """Verify a checkpoint, then load it.

        Raises
        ------
        UserError
            If it is damaged or does not fit the objects.
        """
        if fault := fault_of(checkpoint.path, self._needed()):
            raise UserError(f"{checkpoint.path}: {fault}. Take another checkpoint, or bring it back from a copy.")
        self._call_load_hooks(checkpoint)

    def _call_load_hooks(self, checkpoint: stock.Checkpoint) -> None:
        logger.debug("loading %s", checkpoint.path)
        for name, item in self.recoverables.items():
            if name not in checkpoint.paramfiles:
                logger.debug("%s has no %s, which is optional", checkpoint.path, name)
                continue
            path = checkpoint.paramfiles[name]
            load = hook_of(name, item, self.custom_load_hooks, stock.DEFAULT_LOAD_HOOKS)
            try:
                load(item, path, checkpoint.meta[END_OF_EPOCH])
            except UserError:
                raise
            except Exception as error:  # pickles, shapes, texts: each hook has its own kinds
                reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
                logger.debug("not loaded:", exc_info=True)
                raise UserError(
                    f"{path}: cannot be loaded ({reason}). If it is of another network or no file of a training, move "
                    f"{checkpoint.path.name} out of {checkpoint.path.parent} and start again."
                ) from error


def as_stock(path: Path, meta: dict[str, Any]) -> stock.Checkpoint:
    """SpeechBrain's description of a checkpoint; of one with sums, the files that have one."""
    files = [path / name for name in meta[FILES]] if FILES in meta else parts_of(path)
    return stock.Checkpoint(path, meta, {file.stem: file for file in files if file.suffix == PART})


def hook_of(name: str, item: Any, custom: Mapping[str, Any], default: Mapping[type, Any]) -> Callable[..., None]:
    """The function that saves or loads an object: its own, or that of its class."""
    hook = custom.get(name) or stock.get_default_hook(item, default)
    if hook is None:
        raise TypeError(f"nothing saves or loads {name}, a {type(item).__name__}: give add_recoverable two hooks.")
    return hook


def remove(folder: Path, ignore_errors: bool = False) -> None:
    """Remove a folder; of a link to one, the link alone."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=ignore_errors)


def free(path: Path) -> Path:
    """A path, or the same with the first number behind it that no file has.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     free(Path(folder, "new")).name, free(Path(folder)).name.endswith("+01")
    ('new', True)
    """
    wanted, count = path, 0
    while path.exists():
        count += 1
        path = wanted.with_name(f"{wanted.name}+{count:02d}")
    return path
