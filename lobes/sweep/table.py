"""The trials of a sweep as a table: the best first, then those that were stopped, then those that failed."""

from __future__ import annotations

import math

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from lobes.reports.tables import as_markdown, show
from lobes.sweep.queue import counted, number_of_folder
from lobes.sweep.sweep_file import Sweep
from lobes.sweep.trial_run import EPOCHS, REASON

STATES = {
    TrialState.COMPLETE: "trained",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def in_order(study: Study) -> list[FrozenTrial]:
    """The trials that count, by their state, then by their score."""
    places = list(STATES)
    return sorted(counted(study), key=lambda one: (places.index(one.state), -score_of_trial(one), one.number))


def trained(study: Study) -> list[FrozenTrial]:
    """The trials that were trained to their end, the best first."""
    return [trial for trial in in_order(study) if trial.state == TrialState.COMPLETE]


def score_of_trial(trial: FrozenTrial) -> float:
    """The best score of a trial; minus infinity where there is none yet."""
    values = list(trial.intermediate_values.values()) if trial.value is None else [trial.value]
    return max((value for value in values if math.isfinite(value)), default=-math.inf)


def header(sweep: Sweep) -> list[str]:
    """The heading of the table's columns."""
    return ["trial", "score", "epochs", "state", *sweep.search]


def rows(sweep: Sweep, study: Study) -> list[list[str]]:
    """A row for each trial."""
    return [_cells(sweep, trial) for trial in in_order(study)]


def as_page(sweep: Sweep, study: Study, picture: str | None) -> str:
    """The sweep in Markdown: how it was made, its picture, the table, and what failed."""
    reasons = {number_of_folder(trial): trial.user_attrs.get(REASON) for trial in counted(study)}
    failed = [f"- trial {number}: {reason}" for number, reason in reasons.items() if reason]
    blocks = [f"# Sweep {sweep.name}", words(sweep, study)]
    blocks += [f"![Importance of the keys, and the trials by their values]({picture})"] if picture else []
    blocks += [as_markdown(header(sweep), rows(sweep, study))]
    return "\n\n".join([*blocks, *(["Failed:\n\n" + "\n".join(failed)] if failed else [])]) + "\n"


def words(sweep: Sweep, study: Study) -> str:
    """What the numbers are."""
    trials = counted(study)
    count = {words: sum(STATES[one.state] == words for one in trials) for words in STATES.values()}
    options = ", ".join(f"{key}: {value}" for key, value in sweep.fingerprint()["options"].items()) or "none"
    pruning = "none" if sweep.pruning is None else ", ".join(f"{key}: {value}" for key, value in sweep.pruning.items())
    score = sweep.score or "the validation score that chooses the checkpoint"
    return (
        f"Recipe: {sweep.recipe.parent.parent.name}/{sweep.recipe.name}. Options of all trials: {options}. "
        f"Score: {score}, of the best epoch; higher is better. Values chosen by {sweep.sampler}, seed {sweep.seed}. "
        f"Pruning: {pruning}. Trials: {', '.join(f'{n} {state}' for state, n in count.items() if n)}. No test set was "
        "used: the best score is the highest of many, and a test of that trial tends to be lower."
    )


def _cells(sweep: Sweep, trial: FrozenTrial) -> list[str]:
    epochs = trial.user_attrs.get(EPOCHS, max(trial.intermediate_values, default=0))
    score = show(score_of_trial(trial), 3)
    values = [_cell(trial.params.get(key)) for key in sweep.search]
    return [str(number_of_folder(trial)), score, str(epochs), STATES[trial.state], *values]


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
