"""Tables of utterances and scoring in processes: same rows from both, and a status for what kills a worker."""

import math
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.evaluation import job as job_module
from lobes.evaluation import pool, scoring
from lobes.evaluation.inputs import shared_in
from lobes.evaluation.job import ScoreJob, score_job
from lobes.evaluation.scoring import score_many
from lobes.metrics import NUMBERS, measures
from lobes.runs.table import read_per_utterance, write_per_utterance


def job(name, variant="SER", samples=4000):
    """A job that imports nothing heavy in its worker: one source, SI-SDR only."""
    generator = np.random.default_rng(sum(map(ord, name)))
    target = generator.standard_normal((samples, 1))
    estimate = target + 0.3 * generator.standard_normal(target.shape)
    mix = target[:, 0] + generator.standard_normal(samples)
    return ScoreJob(name, estimate, target, mix, 8000, metrics=("si_sdr",), conditions={"variant": variant})


COLUMNS = ("id", "variant", *NUMBERS, "status")


class OnArrival:
    """In place of a job's metrics: calls `function(*arguments)` in the process that unpickles the job."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def same(one, two):
    return all(one[key] == two[key] or one[key] != one[key] and two[key] != two[key] for key in COLUMNS)


def test_rows_come_in_the_order_of_id_and_variant():
    jobs = [job("b", "S"), job("a", "SER"), job("b", "C"), job("a", "E")]
    rows = score_many(iter(jobs), workers=0)
    assert [(row["id"], row["variant"]) for row in rows] == [("a", "E"), ("a", "SER"), ("b", "C"), ("b", "S")]
    assert all(5 < row["si_sdri"] < 15 and row["status"] == "ok" for row in rows)


def test_processes_give_the_same_rows():
    jobs = [job(str(number)) for number in range(7)]
    jobs[3].estimates[5] = math.nan
    here, there = score_many(jobs, workers=0), score_many(iter(jobs), workers=2)
    assert len(there) == 7 and all(same(a, b) for a, b in zip(here, there, strict=True))


def test_a_job_that_kills_or_blocks_its_worker_is_one_row():
    jobs = [
        job("a"),
        replace(job("b crash"), metrics=OnArrival(os.abort)),
        job("c"),
        replace(job("d exit"), metrics=OnArrival(os._exit, 3)),
        replace(job("e late"), metrics=OnArrival(time.sleep, 60)),
        job("f"),
    ]
    start = time.monotonic()
    rows = score_many(jobs, workers=1, timeout=5.0, progress=False)
    assert time.monotonic() - start < 50
    statuses = [row["status"] for row in rows]
    crash, leave, late = "worker crashed (signal SIGABRT)", "worker crashed (exit code 3)", "timeout (5 s)"
    assert statuses == ["ok", crash, "ok", leave, late, "ok"]
    assert all(math.isnan(rows[place][name]) for place in (1, 3, 4) for name in NUMBERS)
    assert rows[5]["si_sdr"] > 5


def test_what_a_library_prints_does_not_mix_with_the_rows():
    noisy = replace(job("a"), metrics=OnArrival(os.write, 1, b"noise from a C library"))
    rows = score_many([noisy, job("b")], workers=1)
    assert rows[0]["status"] == "error: TypeError" and rows[1]["status"] == "ok"


def test_jobs_are_taken_as_they_are_needed():
    """A generator that runs the model must not fill the memory while the workers are busy."""
    taken = []

    def jobs():
        for number in range(12):
            taken.append(number)
            yield job(str(number))

    rows = pool.score_in_processes(jobs(), workers=1, timeout=60)
    next(rows)
    assert len(taken) <= 2
    assert len(list(rows)) == 11


@pytest.mark.parametrize("workers", [0, 1])
def test_shapes_that_do_not_fit_name_the_job(workers):
    wrong = replace(job("a"), mix=np.zeros(17))
    with pytest.raises(UserError, match=r"a \(SER\): Expected"):
        score_many([wrong, job("b")], workers=workers)


def test_a_pool_that_cannot_start_leaves_no_process(monkeypatch):
    start, started = pool.start_process, []

    def start_one():
        if started:
            raise OSError("no more processes")
        started.append(start())
        return started[0]

    monkeypatch.setattr(pool, "start_process", start_one)
    with pytest.raises(OSError, match="no more processes"):
        pool.WorkerPool(2, timeout=60)
    assert started[0].poll() is not None


def test_a_worker_that_cannot_start_is_an_error_not_a_table_of_failures(monkeypatch):
    monkeypatch.setattr(pool.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="workers=0"):
        score_many([job("a")], workers=1)


def test_an_unexpected_error_is_a_status(monkeypatch):
    def broken(*args):
        raise MemoryError

    monkeypatch.setattr(job_module, "score", broken)
    row = score_many([job("a")], workers=0)[0]
    assert row["status"] == "error: MemoryError" and math.isnan(row["si_sdr"])


@pytest.mark.parametrize("items, cores, expected", [(0, 8, 0), (150, 8, 0), (300, 8, 3), (9999, 8, 8), (9999, 1, 0)])
def test_workers_must_pay_for_their_start(monkeypatch, items, cores, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert scoring.default_workers(items) == expected
    assert scoring.default_workers(None) == (cores if cores > 1 else 0)


def test_table_round_trip(tmp_path):
    path = tmp_path / "results" / "per_utterance.csv"
    rows = score_many([job("b"), job('a, "quoted" ż')], workers=0)
    rows[0]["status"] = "silent target (source 1); pesq: NoUtterances (source 2)"
    write_per_utterance(path, rows)
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)
    back = read_per_utterance(path)
    for one, two in zip(back, rows, strict=True):
        assert list(one) == list(COLUMNS)
        assert (one["id"], one["status"]) == (two["id"], two["status"])
        assert one["si_sdr"] == pytest.approx(two["si_sdr"], abs=1e-6) and math.isnan(one["pesq"])
    assert [file.name for file in path.parent.iterdir()] == ["per_utterance.csv"]


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = tmp_path / "per_utterance.csv"
    write_per_utterance(path, [])

    def rows():
        yield {"id": "a", "variant": "C", "status": "ok"}
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write_per_utterance(path, rows())
    assert read_per_utterance(path) == []


def test_read_errors_are_clear(tmp_path):
    with pytest.raises(UserError, match="absent.csv"):
        read_per_utterance(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("id,si_sdr\na,1\n")
    with pytest.raises(UserError, match="lacks the columns si_sdri, sdr"):
        read_per_utterance(tmp_path / "other.csv")


def test_the_input_is_scored_once_for_all_tests_on_it(tmp_path, monkeypatch):
    """The second model's test takes the scores of the mixture; another mixture is never mistaken for it."""
    one = replace(job("a"), score_input=True, metrics=("si_sdr", "ssnr"))
    with shared_in(tmp_path / "kept"):
        first = score_job(one)
        measured = []
        monkeypatch.setattr(measures, "ssnr", lambda *signals: measured.append(signals) or 0.0)
        second = score_job(one)
        assert second["ssnr_in"] == first["ssnr_in"] != 0.0 and len(measured) == 1  # the estimate alone
        other = score_job(replace(one, mix=2 * one.mix))
    assert other["ssnr_in"] == 0.0 and score_job(one)["ssnr_in"] == 0.0


def test_a_worker_whose_parent_has_gone_says_nothing():
    """Its answer finds no reader; and a job that was cut off is no job."""
    command = [sys.executable, "-m", "lobes.evaluation.worker"]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    worker.stdout.close()
    worker.stdin.write(pickle.dumps(job("a"))[:99])
    worker.stdin.close()
    assert worker.stderr.read() == b"" and worker.wait() == 0


@pytest.mark.parametrize("metric", ["ssnr", "composite", "snr", "lsd"])
def test_metrics_that_depend_on_the_level_see_it_fitted_to_the_mixture(metric):
    """A loss that ignores scale leaves any gain, and any sign."""
    x = np.random.default_rng(0).standard_normal((8000, 1)) / 10
    estimate = x + np.random.default_rng(1).standard_normal(x.shape) / 50
    rows = [score_job(ScoreJob("a", gain * estimate, x, x[:, 0], 8000, (metric,), False)) for gain in (1.0, -14.0)]
    columns = [
        name for name in rows[0] if name.startswith(("ssnr", "c", "snr", "lsd")) and math.isfinite(rows[0][name])
    ]
    assert columns and all(rows[0][name] == pytest.approx(rows[1][name], abs=1e-3) for name in columns)
