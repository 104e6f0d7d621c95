"""Recipe files of earlier versions go on working, with a warning that says what to write now."""

from pathlib import Path

import pytest

from lobes import config
from lobes.errors import UserError
from lobes.training.launch import plain_settings

ROOT = Path(__file__).parents[2]
FILE = """base: {root}/recipes/custom/hparams/spmamba.yaml
without: [gradient_checkpointing]
model: !include:{root}/hparams_shared/models/{preset}.yaml
    num_sources: !ref <num_spks>
max_steps: 3
"""


def resolved(path):
    return plain_settings(config.resolve(path, {"data_folder": "x"}))


def test_a_preset_under_the_key_model(tmp_path, caplog):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.format(root=ROOT, preset="convtasnet_tiny"), encoding="utf-8")
    settings = resolved(path)
    assert settings["preset"] == "convtasnet_tiny" and settings["max_steps"] == 3
    assert "write preset: convtasnet_tiny" in caplog.text


def test_a_preset_that_there_is_not(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.format(root=ROOT, preset="no_such"), encoding="utf-8")
    with pytest.raises(UserError, match="no_such"):
        resolved(path)


@pytest.mark.parametrize("case", ["T2-60", "T2-61", "T2-62", "T2-63", "T2-64", "T2-69"])
def test_the_files_of_cases(case, tmp_path):
    given = ROOT.parent / "shared" / "cases" / case / "tiny.yaml"
    if not given.is_file():
        pytest.skip("no cases on this machine")
    path = tmp_path / "tiny.yaml"
    path.write_text(given.read_text(encoding="utf-8").replace("REPO", str(ROOT)), encoding="utf-8")
    assert resolved(path)["preset"] == "convtasnet_tiny"
