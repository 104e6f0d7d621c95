"""Weights load strictly, and a damaged file is noticed."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.runs.weights import check_sums, load_strictly, read_state, write_sums


def save(state: object, folder: Path) -> Path:
    torch.save(state, folder / "a.ckpt")
    return folder / "a.ckpt"


def test_matching_weights_are_loaded(tmp_path: Path):
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    load_strictly(target, save(source.state_dict(), tmp_path))
    assert torch.equal(source.weight, target.weight)


def test_all_kinds_of_misfit_are_named_and_nothing_is_loaded(tmp_path: Path):
    network = nn.Linear(2, 3)
    before = network.weight.clone()
    path = save({"weight": torch.ones(3, 5), "offset": torch.ones(3)}, tmp_path)
    with pytest.raises(UserError) as caught:
        load_strictly(network, path)
    message = str(caught.value)
    assert "1 missing (bias)" in message and "1 unexpected (offset)" in message
    assert "1 of another shape (weight [3, 5] for [3, 2])" in message and str(path) in message
    assert torch.equal(network.weight, before)


def test_a_message_stays_short_for_many_keys(tmp_path: Path):
    network = nn.Sequential(*[nn.Linear(2, 2) for _ in range(100)])
    with pytest.raises(UserError, match=r"200 missing \(0.weight, 0.bias, 1.weight, \.\.\.\)"):
        load_strictly(network, save({}, tmp_path))


class Evil:
    """Makes a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("canary",)


def test_no_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UserError, match="cannot be read"):
        read_state(tmp_path / "a.ckpt")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_damaged_files_are_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="a.ckpt: the weights cannot be read"):
        read_state(tmp_path / "a.ckpt")


def test_missing_file_and_other_content(tmp_path: Path):
    with pytest.raises(UserError, match="no such weight file"):
        read_state(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="expected a state dict"):
        read_state(save([1, 2], tmp_path))


def make_folder(folder: Path) -> Path:
    (folder / "hyperparams.yaml").write_text("a: 1\n")
    (folder / "masknet.ckpt").write_bytes(bytes(1000))
    (folder / "README.md").write_text("card\n")
    write_sums(folder)
    return folder


def test_sums_have_the_format_of_sha256sum(tmp_path: Path):
    folder = make_folder(tmp_path)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 3


def test_one_flipped_bit_is_noticed(tmp_path: Path):
    folder = make_folder(tmp_path)
    check_sums(folder)
    data = bytearray((folder / "masknet.ckpt").read_bytes())
    data[500] ^= 1
    (folder / "masknet.ckpt").write_bytes(data)
    with pytest.raises(UserError, match="masknet.ckpt: differs from its sha256"):
        check_sums(folder)


def test_missing_file_is_noticed_but_the_card_is_free(tmp_path: Path):
    folder = make_folder(tmp_path)
    (folder / "README.md").unlink()
    check_sums(folder)
    (folder / "hyperparams.yaml").unlink()
    with pytest.raises(UserError, match="hyperparams.yaml: listed in SHA256SUMS, but missing"):
        check_sums(folder)


@pytest.mark.parametrize("line", ["nonsense", "0" * 64 + "  ../../etc/passwd"])
def test_S05_malformed_lists_are_refused(tmp_path: Path, line: str):
    (tmp_path / "SHA256SUMS").write_text(line + "\n")
    with pytest.raises(UserError, match="expected lines of"):
        check_sums(tmp_path)
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="expected lines of"):
        check_sums(tmp_path)
