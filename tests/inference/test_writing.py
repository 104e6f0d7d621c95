"""Output files on a full disk, and two processes that write one file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lobes.inference.chunks import ChunkPlan
from lobes.inference.long_mixture import LongMixture
from lobes.inference.writing import opened_for_writing

FULL = Path("/dev/full")  # takes nothing
PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from lobes.inference.writing import opened_for_writing
value, subtype = float(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
with opened_for_writing([Path("a.wav")], 8000, 1, "wav", subtype, 4000) as [file]:
    for _ in range(4):
        file.write(np.full(1000, value, np.float32))
        time.sleep(0.2)
"""


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is full")
@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_a_full_disk_is_one_error_that_names_the_file(tmp_path, capfd, ending):
    path = tmp_path / f"a.{ending}"
    Path(f"{path}.partial").symlink_to(FULL)
    x = np.random.default_rng(0).uniform(-0.3, 0.3, 90000).astype(np.float32)
    with pytest.raises(OSError) as caught:
        with opened_for_writing([path], 8000, 1, ending, "VORBIS" if ending == "ogg" else "PCM_16", len(x)) as [file]:
            file.write(x)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert not capfd.readouterr().err and not path.exists()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is full")
def test_a_full_disk_of_temporary_files_says_where_they_lie(tmp_path):
    plan = ChunkPlan(whole=4000, length=4000, overlap=800, margin=100)
    with pytest.raises(OSError, match="TMPDIR names another folder") as caught:
        with LongMixture(plan, 20000, 1, 8000, folder=str(tmp_path)) as long:
            long.file = FULL.open("w+b")
            long.separate(lambda x: x[:, None], iter([np.ones(20000, np.float32)]))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_two_processes_write_one_file_one_after_the_other(tmp_path):
    """The second would cut what the first has written, and take its partial file away."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, *words], cwd=tmp_path, env=environment, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for words in (("0.5", "FLOAT"), ("0.25", "DOUBLE"))
    ]  # fmt: skip
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    x = sf.read(tmp_path / "a.wav")[0]
    assert x.shape == (4000,) and len(set(x)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
