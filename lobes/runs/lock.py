"""The lock of a run folder: one training at a time. It goes with its process, whatever ends that."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from lobes.errors import UserError
from lobes.runs import names

# A process that was killed may take a moment to end, and a worker that it has just forked to let go of the lock.
PATIENCE_S = 2.0
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # what file systems without locks answer

logger = logging.getLogger(__name__)
# Its lines for debugging hold names of files as they are, also those that no encoding can write.
logging.getLogger("filelock").setLevel(logging.INFO)


def hold_both(output_folder: str, save_folder: str) -> list[BaseFileLock | None]:
    """Take a run folder, and the folder of its checkpoints where that lies elsewhere: two runs must not share one.

    Raises
    ------
    UserError
        If another process trains in one of them.
    """
    places, save = [hold(output_folder)], Path(save_folder).resolve()
    if Path(output_folder).resolve() not in save.parents:
        places.append(hold(save, option="save_folder"))
    return places


def hold(folder: str | os.PathLike[str], make: bool = True, option: str = "output_folder") -> BaseFileLock | None:
    """Take a run folder for a training, until the returned object is gone or the process ends, by a kill too.

    Arguments
    ---------
    folder : str or PathLike
        The run folder.
    make : bool
        Whether to make the folder and the lock's file where they are missing; without them, no training has been there.
    option : str
        What gives another folder, for the message.

    Returns
    -------
    BaseFileLock or None
        None if there is nothing to take, or the file system has no locks, which is a warning.

    Raises
    ------
    UserError
        If another process trains there.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     lock = hold(folder)
    ...     lock.is_locked, [path.name for path in Path(folder).iterdir()]
    (True, ['training.lock'])
    """
    path = Path(folder).resolve() / names.TRAINING_LOCK
    if not make and not path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False, is_singleton=True)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        raise UserError(
            f"{folder}: another training runs in this folder. Wait for it or end it, or give another --{option}."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning("%s: no lock here (%s); start no second training in this folder.", folder, error.strerror)
        return None
    return lock
