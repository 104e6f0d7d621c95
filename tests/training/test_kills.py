"""Twenty kills at random moments: no start is lost, and each run ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = ("dropout, 0 workers", "dropout, accumulation 4")  # both with dynamic mixing and speed changes


def test_F01_F02_F03_F18_F20_twenty_kills_lose_no_start_and_change_no_bit(tmp_path):
    words = [word for name in CONFIGURATIONS for word in ("--only", name)]
    words += [
        "--kills",
        20,
        "--fresh",
        0,
        "--page",
        "",
        "--output",
        tmp_path / "kills.json",
        "--work",
        tmp_path / "work",
    ]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "campaign.py", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    runs = json.loads((tmp_path / "kills.json").read_text(encoding="utf-8"))["runs"]
    kills = [kill for run in runs for kill in run["kills"]]
    assert len(kills) == 20 and {run["configuration"] for run in runs} == set(CONFIGURATIONS)
    assert [run["lost"] for run in runs] == [run["differs"] for run in runs] == [[]] * len(runs)
    assert {"start", "batch", "save"} < {kill["kind"] for kill in kills}  # the kills hit something
    assert 0 < sum(run.get("repeated", 0) for run in runs) < 20 * 4  # at most an interval or a window for each
