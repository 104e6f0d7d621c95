"""Small systems with known scores."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.evaluation.score_tables import ScoreTable, System


@pytest.fixture(scope="session")
def make_system():
    """A system of 24 utterances of 6 speakers whose gain in dB is its second argument, give or take."""

    def make(label, gain, count=24, seed=0, **more):
        ids = [f"u{n:04d}" for n in range(count)]
        level = np.linspace(-5, 15, count)
        noise = np.random.default_rng(seed).normal(0, 0.3, count) if gain else np.zeros(count)
        columns = {
            "si_sdr": level + gain + noise,
            "si_sdri": gain + noise,
            "wer": 0.5 - 0.01 * (level + gain + noise),
            "si_sdr_in": level,
            "wer_in": 0.5 - 0.01 * level,
            **more,
        }
        words = {
            "speaker": {ID: f"s{n % 6}" for n, ID in enumerate(ids)},
            "variant": {ID: "SE" if n % 2 else "SER" for n, ID in enumerate(ids)},
        }
        numbers = {name: dict(zip(ids, map(float, values), strict=True)) for name, values in columns.items()}
        return System(label, [ScoreTable(label, numbers, words, ids)])

    return make
