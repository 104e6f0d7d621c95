"""A scoring that was stopped goes on with what is left, and only with the very same signals and questions."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from lobes.evaluation.job import ScoreJob, score_job
from lobes.evaluation.journal import Journal, key_of
from lobes.evaluation.recognisers import fingerprint_of
from lobes.evaluation.scoring import score_many
from lobes.metrics import own


def job(name, **changes):
    x = np.random.default_rng(sum(map(ord, name))).standard_normal((2000, 1))
    return replace(ScoreJob(name, x + 0.1, x, x[:, 0], 8000, ("si_sdr", "snr"), conditions={"of": "x"}), **changes)


def taken(jobs, names_of, stop_at=None):
    for one in jobs:
        if one.id == stop_at:
            raise KeyboardInterrupt
        names_of.append(one.id)
        yield one


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_stopped_scoring_goes_on(tmp_path, workers):
    jobs, path = [job(name) for name in "abcd"], tmp_path / "out" / "scored.jsonl"
    with pytest.raises(KeyboardInterrupt):
        score_many(taken(jobs, [], "d"), workers, total=4, journal=Journal(path))
    kept = path.read_text().splitlines()
    assert 1 <= len(kept) <= 3
    path.write_text("\n".join([*kept[:1], kept[0][:40]]) + "\n")  # one whole row, and one that was cut off
    journal, scored = Journal(path), []
    journal.left, left = lambda jobs: taken(left(jobs), scored), journal.left
    rows = score_many(jobs, workers, total=4, journal=journal)
    assert len(scored) == 3 and len(path.read_text().splitlines()) == 5
    assert repr(rows) == repr(score_many(jobs, 0))


def test_what_may_pass_is_scored_again(tmp_path):
    journal = Journal(tmp_path / "scored.jsonl")
    statuses = [
        "ok",
        "timeout (120 s)",
        "pesq: NoUtterances (source 1)",
        "worker crashed (exit code 3)",
        "error: OSError",
    ]
    statuses.append('dnsmos: speechmos is not installed, get it by pip install "path/to/clone[judges]"')
    rows = [{"id": str(n), "status": status, "key": str(n)} for n, status in enumerate(statuses)]
    assert [row["id"] for row in journal.keep(iter(rows))] == list("012345")
    assert set(Journal(tmp_path / "scored.jsonl").known) == {"0", "2"}


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"}, {"estimates": np.zeros((2000, 1))}, {"mix": np.zeros(2000)}, {"sample_rate": 16000},
        {"metrics": ("si_sdr",)}, {"improvement": False}, {"conditions": {"of": "y"}}, {"score_input": True},
        {"texts": ["hello"]}, {"recogniser": "x:y"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_another_question_has_another_key(change):
    assert key_of(job("a")) == key_of(job("a")) != key_of(job("a", **change))


def test_rows_of_other_processes_count_and_stay_theirs(tmp_path):
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for path, name in zip(paths, "ab", strict=True):
        journal = Journal(path)
        list(journal.keep(score_job(one) for one in journal.left([job(name)])))
    both = Journal(paths[0], paths[1])
    assert not list(both.left([job("a"), job("b")]))
    assert sorted(row["id"] for row in both.keep([])) == ["a", "b"]
    assert [len(path.read_text().splitlines()) for path in paths] == [1, 1]


def test_the_row_after_a_line_that_was_cut_off_is_kept(tmp_path):
    jobs, path = [job(name) for name in "abc"], tmp_path / "scored.jsonl"
    score_many(jobs[:2], 0, journal=Journal(path))
    path.write_text(path.read_text()[:-40])  # killed while it wrote
    score_many(jobs, 0, journal=Journal(path))
    assert not list(Journal(path).left(jobs))


def test_a_changed_function_of_ones_own_and_a_changed_recogniser_are_asked_again(tmp_path, monkeypatch):
    """In a new process, as the same command would be."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "ears"
    folder.mkdir()

    def keys(value):
        (tmp_path / "my_judge.py").write_text(
            f"def loud(x, y, rate):\n    return {value}\ndef ears(): return {value}\n"
        )
        (folder / "hyperparams.yaml").write_text(f"a: {value}\n")
        for forget in (own.fingerprint, fingerprint_of):
            forget.cache_clear()
        monkeypatch.delitem(sys.modules, "my_judge", raising=False)
        importlib.invalidate_caches()
        asked = [
            {"metrics": ("my_judge:loud",)},
            *({"metrics": ("wer",), "recogniser": r} for r in ("my_judge:ears", str(folder))),
        ]
        return [key_of(job("a", **one)) for one in asked]

    first, second = keys(1), keys(22)
    assert all(one != other for one, other in zip(first, second, strict=True)) and keys(1) == first
