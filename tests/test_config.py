"""Recipe files: bases, overrides, errors."""

import pytest

from lobes.config import load, resolve
from lobes.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part.yaml").write_text("size: !PLACEHOLDER\ndouble: !ref <size> * 2\n")
    (tmp_path / "base.yaml").write_text(
        "data_folder: !PLACEHOLDER\nbatch_size: 1\nmodel: !include:part.yaml\n    size: !ref <batch_size>\n"
    )
    (tmp_path / "small.yaml").write_text("base: base.yaml\nbatch_size: 3\n")
    return tmp_path


def test_delta_replaces_keys_and_includes_resolve(folder):
    text = resolve(folder / "small.yaml", "data_folder: here")
    assert load(text) == {"data_folder": "here", "batch_size": 3, "model": {"size": 3, "double": 6}}


def test_command_line_wins(folder):
    assert load(resolve(folder / "small.yaml", "data_folder: x\nbatch_size: 5"))["model"]["double"] == 10


def test_misspelt_option_names_the_nearest(folder):
    with pytest.raises(UserError, match="--batch_sise. Did you mean 'batch_size'"):
        resolve(folder / "base.yaml", "batch_sise: 2")


def test_misspelt_run_option_names_the_nearest(folder):
    with pytest.raises(UserError, match="Did you mean 'precision'"):
        resolve(folder / "base.yaml", "precison: bf16", extra_options=("precision",))


def test_delta_with_an_unknown_key(folder):
    (folder / "wrong.yaml").write_text("base: base.yaml\nbatch_siz: 3\n")
    with pytest.raises(UserError, match="'batch_siz' is no key of base.yaml. Did you mean 'batch_size'"):
        resolve(folder / "wrong.yaml")


def test_delta_without_a_key_of_its_base(folder):
    (folder / "less.yaml").write_text("base: base.yaml\nwithout: [batch_size]\nmodel: null\n")
    assert load(resolve(folder / "less.yaml", "data_folder: x")) == {"data_folder": "x", "model": None}
    with pytest.raises(UserError, match="unknown option --batch_size"):
        resolve(folder / "less.yaml", "batch_size: 2")


def test_delta_without_an_unknown_key(folder):
    (folder / "wrong.yaml").write_text("base: base.yaml\nwithout: [batch_siz]\n")
    with pytest.raises(UserError, match="'batch_siz' is no key of base.yaml. Did you mean 'batch_size'"):
        resolve(folder / "wrong.yaml")


def test_missing_file_lists_what_is_there(folder):
    with pytest.raises(UserError, match="no such recipe file.*base.yaml, part.yaml, small.yaml"):
        resolve(folder / "smal.yaml")


def test_placeholder_names_the_option(folder):
    with pytest.raises(UserError, match="--data_folder VALUE"):
        resolve(folder / "base.yaml")


def test_broken_yaml(folder):
    (folder / "broken.yaml").write_text("a: [1, 2\n")
    with pytest.raises(UserError, match="no valid YAML"):
        resolve(folder / "broken.yaml")
