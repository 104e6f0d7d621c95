"""Values that depend on the seed, the number of the trial and what is known by then, and on nothing else.

Optuna's samplers go on from one draw to the next. Then a sweep that is started again repeats its first draws, and all
workers with one seed draw the same values. So each trial has a sampler of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class NumberedSampler(BaseSampler):
    """Optuna's sampler `tpe` or `random`, seeded anew for each trial.

    Arguments
    ---------
    kind : str
        tpe or random. TPE draws ten trials at random before it looks at their scores.
    seed : int
        Of the sweep.

    Example
    -------
    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=NumberedSampler("random", 1))
    >>> first, second = (study.ask().suggest_float("lr", 0, 1) for _ in range(2))
    >>> again = optuna.create_study(sampler=NumberedSampler("random", 1)).ask().suggest_float("lr", 0, 1)
    >>> first == again != second
    True
    """

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self.of_trial = self._made(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of a trial."""
        self.of_trial = self._made(trial.number)
        self.of_trial.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What is drawn together."""
        return self.of_trial.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw it."""
        return self.of_trial.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one value."""
        return self.of_trial.sample_independent(study, trial, param_name, param_distribution)

    def _made(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        return RandomSampler(seed=seed) if self.kind == "random" else TPESampler(seed=seed)
