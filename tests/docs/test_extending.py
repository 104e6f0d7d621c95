"""docs/extending: its network trains in a copied recipe, on its data set, with its metric in the test."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "extending").glob("*.md"))
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks() -> dict[str, str]:
    """Title -> block of Python; the data set's is called data_set.py."""
    found = re.findall(r'^```python(?: title="(\w+\.py)")?\n(.*?)^```', TEXT, flags=re.MULTILINE | re.DOTALL)
    return {title or "data_set.py": code for title, code in found if title or "my_set" in code}


@pytest.mark.slow
def test_the_network_of_the_pages_trains_in_a_copied_recipe(tmp_path):
    def run(*words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("-m", "lobes.cli", "recipe", "copy", "custom", "mine")
    for title, code in blocks().items():
        (tmp_path / "mine" / title).write_text(code, encoding="utf-8")
    settings = re.search(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)[1]
    (tmp_path / "mine" / "hparams" / "filters.yaml").write_text(settings, encoding="utf-8")
    run("mine/data_set.py")
    options = "--data_folder my_set --taps 31 --max_steps 2 --batch_size 2 --num_workers 0 --output_folder out"
    metrics = "[si_sdr, my_scores:loudness]"
    run("-m", "lobes.cli", "train", "mine/filters.yaml", *options.split(), "--test_metrics", metrics)
    with open(tmp_path / "out" / "per_utterance.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and all(row["status"] == "ok" and row["loudness"] for row in rows)
