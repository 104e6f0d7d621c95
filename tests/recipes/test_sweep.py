"""A sweep over a recipe as it is: real trainings, and the best recipe file trains what the best trial trained."""

from __future__ import annotations

import pytest
import yaml

from lobes.runs.record import curve

SWEEP = """
recipe: custom/spmamba.yaml
options: {preset: dprnn_tiny, n_layers: 1, device: cpu, training_signal_len: 2000, num_workers: 0, N_epochs: 2,
          sample_checks: [], precision: fp32}
search:
    lr: {low: 1.0e-4, high: 1.0e-2, log: true}
trials: 2
"""


@pytest.mark.slow
def test_the_best_recipe_file_trains_as_the_best_trial_did(train, smallest_data, tmp_path):
    pytest.importorskip("optuna", reason="the extra hpo is not installed")
    from lobes.sweep.command import run_sweep

    (tmp_path / "a.yaml").write_text(SWEEP)
    run_sweep(tmp_path / "a.yaml", tmp_path / "out", None, 1, 1, [f"data_folder={smallest_data['custom']}"])
    best = tmp_path / "out" / "best.yaml"
    values = yaml.safe_load(best.read_text())
    assert values["lr"] and "device" not in values and "data_folder" not in values
    number = int(best.read_text().split("trial ")[1].split(",")[0])
    train("custom", best, "--data_folder", smallest_data["custom"], "--output_folder", tmp_path / "again",
          "--device", "cpu", "--test_metrics", "[si_sdr]")  # fmt: skip
    columns = ("train_loss", "valid_si_sdri", "lr", "step")
    of = [[[row[key] for key in columns] for row in curve(folder)]
          for folder in (tmp_path / "again", tmp_path / "out" / "trials" / f"{number:04d}")]  # fmt: skip
    assert len(of[0]) == 2 and of[0] == of[1]
