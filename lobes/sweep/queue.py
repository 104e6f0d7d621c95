"""The next trial of a sweep: one whose worker has ended, else a new one, until there are as many as wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from lobes.sweep.owners import WORKER, TrialWatch, this_worker
from lobes.sweep.sweep_file import Sweep

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

LEFT, SURPLUS = "left", "surplus"  # attributes of trials that do not count
FIRST = "first"  # the trial with which one goes on
OPEN = (TrialState.RUNNING, TrialState.WAITING)


def next_trial(sweep: Sweep, study: Study, watch: TrialWatch, folder: Path) -> Trial | None:
    """Take the next trial for this worker; None if there is none at the moment.

    One worker of a machine looks at a time: SQLite does not say which of two was first.
    """
    with FileLock(folder / "choosing.lock"):
        _put_back(study, watch)
        trials = counted(study)
        if len(trials) >= sweep.trials and not any(trial.state == TrialState.WAITING for trial in trials):
            return None
        trial = study.ask({key: space.distribution() for key, space in sweep.search.items()})
        trial.set_user_attr(WORKER, this_worker())
        before = [one for one in counted(study) if one.number < trial.number]
        if len(before) < sweep.trials or FIRST in trial.user_attrs:
            return trial
        trial.set_user_attr(SURPLUS, True)  # another machine took the last one at the same moment
        finish(trial, TrialState.FAIL)
        return None


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that count: one whose worker has ended counts as the one that goes on with it."""
    trials = study.get_trials(deepcopy=False)
    return [one for one in trials if one.state != TrialState.FAIL or not {LEFT, SURPLUS} & set(one.user_attrs)]


def finish(
    trial: Trial | FrozenTrial, state: TrialState, value: float | None = None, study: Study | None = None
) -> bool:
    """End a trial; False if somebody else has.

    Arguments
    ---------
    trial : Trial or FrozenTrial
        The latter needs the study.
    state : TrialState
    value : float, optional
        Its score.
    study : Study, optional
    """
    storage: BaseStorage = study._storage if study is not None else trial.storage  # type: ignore[union-attr]
    values = None if value is None else [value]
    try:
        return storage.set_trial_state_values(trial._trial_id, state, values)
    except UpdateFinishedTrialError:
        return False


def number_of_folder(trial: Trial | FrozenTrial) -> int:
    """The trial in whose folder a trial is trained: its own, or that which it goes on with."""
    return int(trial.user_attrs.get(FIRST, trial.number))


def _put_back(study: Study, watch: TrialWatch) -> None:
    """End the trials whose worker has ended, and put them at the front of the queue with the values that they had."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not watch.is_left(trial):
            continue
        _attribute(study, trial, LEFT, True)
        if finish(trial, TrialState.FAIL, study=study):
            first = number_of_folder(trial)
            study.enqueue_trial(trial.params, {FIRST: first})
            print(f"trial {first}: its worker has ended; it is taken up again", flush=True)


def _attribute(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    try:
        study._storage.set_trial_user_attr(trial._trial_id, key, value)
    except UpdateFinishedTrialError:
        pass  # another worker was first
