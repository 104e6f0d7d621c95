"""A sweep on PostgreSQL: workers that share nothing but the database, as on several machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
LONG_S = 400


def program(name: str) -> str:
    """A program of PostgreSQL's server, which Debian keeps out of the PATH."""
    found = shutil.which(name) or next(iter(sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))), None)
    if found is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    return found


def run_as_server(*words: str) -> None:
    """PostgreSQL refuses to run as root, so that root runs it as its own user."""
    before = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*before, *words], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def database():
    """The URL of a database of our own, reached by a socket in a temporary folder."""
    pytest.importorskip("psycopg2", reason="the extra hpo is not installed")
    initdb, control = program("initdb"), program("pg_ctl")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("no runuser, and PostgreSQL refuses to run as root")
    folder = Path(tempfile.mkdtemp(prefix="lobes_pg"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        run_as_server(initdb, "-D", str(folder / "data"), "-A", "trust", "-U", "lobes", "--no-sync")
        options = f"-k {folder} -c listen_addresses=''"
        run_as_server(control, "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://lobes@/postgres?host={folder}"
        finally:
            run_as_server(control, "-D", str(folder / "data"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_workers_with_folders_of_their_own_share_a_database(sweep_file, start, database, tmp_path):
    from lobes.sweep.storage import open_study
    from lobes.sweep.sweep_file import read_sweep

    command = [sweep_file, "--storage", database]
    both = [start(*command, "-o", tmp_path / name) for name in ("here", "there")]
    texts = [process.communicate(timeout=LONG_S)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    trials = open_study(read_sweep(sweep_file), database, tmp_path).trials
    counted = [trial for trial in trials if "surplus" not in trial.user_attrs]
    assert len(counted) == 6 and {trial.state.name for trial in counted} == {"COMPLETE"}
    assert len({trial.user_attrs["worker"]["pid"] for trial in counted}) == 2
    folders = {name: {path.name for path in tmp_path.glob(f"{name}/trials/*")} for name in ("here", "there")}
    assert not folders["here"] & folders["there"] and len(folders["here"] | folders["there"]) == 6
    assert (tmp_path / "here" / "best.yaml").read_text() == (tmp_path / "there" / "best.yaml").read_text()


def test_a_database_that_does_not_answer_is_one_line(sweep_file, tmp_path):
    from lobes.errors import UserError
    from lobes.sweep.storage import open_storage

    pytest.importorskip("psycopg2", reason="the extra hpo is not installed")
    with pytest.raises(UserError, match="the database cannot be opened") as caught:
        open_storage(f"postgresql://somebody:secret@/none?host={tmp_path}", tmp_path)
    assert "secret" not in str(caught.value) and len(str(caught.value).splitlines()) == 1
