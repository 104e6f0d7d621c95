"""Where a sweep keeps its trials: SQLite on one machine, a journal file or PostgreSQL for several."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lobes.errors import UserError, install
from lobes.sweep.sweep_file import Sweep

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.study import Study

SQLITE, JOURNAL = ".db", ".journal"
DEFAULT = "trials" + SQLITE  # in the sweep's folder
FINGERPRINT = "sweep"  # of the study
ATTEMPTS = 5
PATIENCE_S = 60  # for another worker that writes


def open_study(sweep: Sweep, place: str | None, folder: Path) -> Study:
    """Open the study of a sweep in a storage, or make it there.

    Arguments
    ---------
    sweep : Sweep
    place : str, optional
        A file NAME.db (SQLite) or NAME.journal, or the URL of a database such as postgresql://USER@HOST/NAME. By
        default an SQLite file in the folder.
    folder : Path
        Of the sweep.

    Raises
    ------
    UserError
        If Optuna or the database's driver is missing, the storage cannot be opened, or holds another sweep of the name.
    """
    try:
        import optuna
        from optuna.exceptions import ExperimentalWarning
    except ModuleNotFoundError as error:
        raise UserError(f"a sweep needs the package {error.name}: {install(extra='hpo')}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)
    from lobes.sweep.sampler import NumberedSampler

    study = optuna.create_study(
        storage=open_storage(place, folder), study_name=sweep.name, direction="maximize", load_if_exists=True,
        sampler=NumberedSampler(sweep.sampler, sweep.seed), pruner=_pruner(sweep),
    )  # fmt: skip
    _refuse_another(study, sweep, place)
    return study


def open_storage(place: str | None, folder: Path) -> BaseStorage:
    """Open a file or a database.

    Raises
    ------
    UserError
        If it is neither, or does not answer.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     type(open_storage(f"{folder}/a.journal", Path(folder))).__name__
    'JournalStorage'
    """
    place = place or str(folder / DEFAULT)
    if "://" in place:
        return _database(place)
    path = Path(place).absolute()
    if path.suffix not in (SQLITE, JOURNAL):
        raise UserError(f"--storage {place}: expected NAME{SQLITE}, NAME{JOURNAL} or postgresql://USER@HOST/NAME.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return _journal(path) if path.suffix == JOURNAL else _database(f"sqlite:///{path}")


def _journal(path: Path) -> BaseStorage:
    """A file to which all workers append; the lock is one that network file systems know, too."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def _database(url: str) -> BaseStorage:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = make_url(url)
        shown = address.render_as_string(hide_password=True)
        if address.drivername in ("postgresql", "postgres"):  # SQLAlchemy's own choice changes with its version
            address = address.set(drivername="postgresql+psycopg2")
        is_file = address.drivername == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE_S}} if is_file else {"pool_pre_ping": True}
        return _made(address.render_as_string(hide_password=False), options)
    except (ModuleNotFoundError, ImportError) as error:  # Optuna words a missing driver anew
        raise UserError(f"--storage {shown}: the driver of this database is missing: {install(extra='hpo')}") from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(f"--storage: the database cannot be opened: {reason}.") from error


def _made(url: str, options: dict[str, Any]) -> BaseStorage:
    """Two workers may make the tables of an empty database at one moment; then one of them finds them made."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(ATTEMPTS - 1):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (IntegrityError, ProgrammingError):
            time.sleep(1.0)
    return RDBStorage(url, engine_kwargs=options)


def _pruner(sweep: Sweep) -> BasePruner:
    from optuna.pruners import MedianPruner, NopPruner

    if sweep.pruning is None:
        return NopPruner()
    return MedianPruner(sweep.pruning["after_trials"], sweep.pruning["after_epochs"] + 1)


def _refuse_another(study: Study, sweep: Sweep, place: str | None) -> None:
    """A study goes on with what it was begun with."""
    mine = json.loads(json.dumps(sweep.fingerprint()))
    known = study.user_attrs.get(FINGERPRINT)
    if known is None:
        study.set_user_attr(FINGERPRINT, mine)
    elif known != mine:
        changed = ", ".join(key for key in mine if mine[key] != known.get(key))
        raise UserError(
            f"the storage holds another sweep of the name {sweep.name}: {changed} differ. Give the file another name, "
            "or with --storage and --out other places."
        )
