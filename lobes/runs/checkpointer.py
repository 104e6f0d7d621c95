"""SpeechBrain's Checkpointer, so that a kill at any moment leaves whole checkpoints only, and damage is found.

A checkpoint is written under a name that SpeechBrain does not see, synced to the disk, and renamed once. Its files are
those of SpeechBrain, whose own Checkpointer reads them.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from speechbrain.utils import checkpoints as stock
from speechbrain.utils.distributed import ddp_barrier

from lobes.data.files import sync
from lobes.errors import UserError, in_one_line
from lobes.runs import names
from lobes.runs.checkpoints import END_OF_EPOCH, PART, STEP, fault_of, read_meta, write_meta
from lobes.runs.main_process import on_main
from lobes.runs.verification import Key, VerifyingCheckpointer, as_stock, free, hook_of, remove

Predicate = Callable[[stock.Checkpoint], bool]

logger = logging.getLogger(__name__)


class SafeCheckpointer(VerifyingCheckpointer):
    """Save checkpoints whole or not at all, and recover from the newest or best one that is as it was written.

    Arguments, methods and signatures are SpeechBrain's. What differs in saving, next to what `VerifyingCheckpointer`
    does in loading:

    - The step stands in each CKPT.yaml; it comes from the recoverable `budget` where `meta` has none.
    - A checkpoint within an epoch that cannot be written, as on a full disk, is a warning, and `save_checkpoint`
      returns None. At an epoch's end that is a UserError. The older ones stay in both cases.
    - Savers run on the main process only. What they need of other processes is gathered before.

    Example
    -------
    >>> import torch, tempfile
    >>> network = torch.nn.Linear(2, 3)
    >>> checkpointer = SafeCheckpointer(tempfile.mkdtemp(), {"separator": network})
    >>> saved = checkpointer.save_checkpoint({"si_sdri": 3.0, "step": 8})
    >>> with saved.paramfiles["separator"].open("ab") as file:
    ...     _ = file.write(b"!")
    >>> checkpointer.recover_if_possible()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: ...: no checkpoint can be used (CKPT+...: separator.ckpt is not as it was written ...
    """

    locks: Sequence[BaseFileLock | None] = ()  # of the run's folders, held as long as this object lives

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last: Path | None = None  # written by this process

    # ---- save

    def save_checkpoint(
        self,
        meta: Mapping[str, Any] = {},
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = logging.INFO,
    ) -> stock.Checkpoint | None:
        """Write a checkpoint whole or not at all.

        Arguments
        ---------
        meta : mapping
            More keys for CKPT.yaml.
        end_of_epoch : bool
            Whether the epoch has ended.
        name : str, optional
            The folder is called `CKPT+<name>`, with a number behind it where that one exists. The time by default.
        verbosity : int
            Level of the log message.

        Returns
        -------
        Checkpoint or None
            On every process. None if it could not be written within an epoch, which is a warning.

        Raises
        ------
        UserError
            If it could not be written at the end of an epoch.
        """
        return on_main(self._save, meta, end_of_epoch, name, verbosity)

    def save_and_keep_only(
        self,
        meta: Mapping[str, Any] = {},
        end_of_epoch: bool = True,
        name: str | None = None,
        num_to_keep: int = 1,
        keep_recent: bool = True,
        importance_keys: Iterable[Key] = (),
        max_keys: Iterable[str] = (),
        min_keys: Iterable[str] = (),
        ckpt_predicate: Predicate | None = None,
        verbosity: int = logging.INFO,
    ) -> stock.Checkpoint | None:
        """Save, then delete what need not be kept; where nothing could be saved, nothing is deleted.

        The arguments are those of `save_checkpoint` and `delete_checkpoints`; `keep_recent` keeps the newest.
        """
        saved = self.save_checkpoint(meta, end_of_epoch, name, verbosity)
        if saved is not None:
            self.delete_checkpoints(
                num_to_keep=num_to_keep,
                min_keys=min_keys,
                max_keys=max_keys,
                importance_keys=[*importance_keys, *([stock.ckpt_recency] if keep_recent else [])],
                ckpt_predicate=ckpt_predicate,
                verbosity=verbosity,
            )
        return saved

    def _save(self, meta: Mapping[str, Any], end_of_epoch: bool, name: str | None, verbosity: int) -> Any:
        try:
            saved = self._write(meta, end_of_epoch, name)
        except (OSError, RuntimeError, MemoryError) as error:
            reason = in_one_line(error)
            if not reason:
                raise
            logger.debug("not saved:", exc_info=True)
            if end_of_epoch:
                raise UserError(
                    f"no checkpoint could be written at the end of the epoch: {reason} Then start the same command "
                    "again: it goes on from the last checkpoint, which is untouched."
                ) from error
            logger.warning("no checkpoint could be written: %s The training goes on and tries again later.", reason)
            return None
        kind = "end-of-epoch" if end_of_epoch else "intra-epoch"
        logger.log(verbosity, "Saved an %s checkpoint in %s", kind, saved.path)
        return saved

    def _write(self, meta: Mapping[str, Any], end_of_epoch: bool, name: str | None) -> stock.Checkpoint:
        self._remove_partial()
        target = self._new_checkpoint_dirpath() if name is None else free(self._custom_checkpoint_dirpath(name))
        partial = target.with_name(names.PARTIAL + target.name)
        try:
            partial.mkdir(parents=True)
            for key, item in self.recoverables.items():
                hook_of(key, item, self.custom_save_hooks, stock.DEFAULT_SAVE_HOOKS)(item, partial / (key + PART))
            steps = getattr(self.recoverables.get("budget"), "steps", None)
            counted = {} if steps is None else {STEP: steps}
            write_meta(partial, {"unixtime": time.time(), END_OF_EPOCH: end_of_epoch, **counted, **meta})
            for path in (*partial.iterdir(), partial):
                sync(path)
            os.rename(partial, target)
            sync(self.checkpoints_dir)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._last = target
        return as_stock(target, read_meta(target))

    # ---- delete

    def delete_checkpoints(
        self,
        *,
        num_to_keep: int = 1,
        min_keys: Iterable[str] | None = None,
        max_keys: Iterable[str] | None = None,
        importance_keys: Iterable[Key] = (stock.ckpt_recency,),
        ckpt_predicate: Predicate | None = None,
        verbosity: int = logging.INFO,
    ) -> None:
        """Keep the first few of each ranking and delete the others.

        The arguments are SpeechBrain's. A damaged checkpoint is not kept in place of a good one, but set aside.
        """
        if num_to_keep < 0:
            raise ValueError("Number of checkpoints to keep must be positive.")
        keys: list[dict[str, Any]] = [{"min_key": key} for key in min_keys or ()]
        keys += [{"max_key": key} for key in max_keys or ()]
        keys += [{"importance_key": key} for key in importance_keys]
        ddp_barrier()  # nobody reads one any more
        on_main(self._delete, num_to_keep, keys, ckpt_predicate, verbosity)

    def _delete(self, num_to_keep: int, keys: Iterable[Mapping[str, Any]], predicate: Any, verbosity: int) -> None:
        rankings = [[one.path for one in self.find_checkpoints(**key, ckpt_predicate=predicate)] for key in keys]
        kept = {path for ranking in rankings for path in ranking[:num_to_keep]}
        doomed = {path for ranking in rankings for path in ranking} - kept
        faults = {path: fault for path in kept - {self._last} if doomed and (fault := fault_of(path))}
        if faults:
            self._set_aside(faults)
            self._delete(num_to_keep, keys, predicate, verbosity)
            return
        for path in doomed:
            partial = path.with_name(names.PARTIAL + path.name)  # a kill in the middle leaves nothing that looks whole
            try:
                os.rename(path, partial)
                remove(partial)
                logger.log(verbosity, "Deleted checkpoint in %s", path)
            except OSError as error:
                logger.warning("%s could not be deleted: %s.", path, error.strerror)
