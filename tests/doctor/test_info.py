"""`lobes info`: facts of this machine, without the names of its user."""

from __future__ import annotations

import pytest

from lobes import __version__
from lobes.doctor import info as page
from lobes.doctor.finding import FAIL, OK, Finding


@pytest.fixture
def lines(monkeypatch, capsys):
    """The page as a dictionary, with these findings in the place of a process of their own."""

    def printed(*found):
        monkeypatch.setattr("lobes.doctor.child.in_child", lambda what: iter(found))
        page.info()
        return {line[:18].strip(): line[19:] for line in capsys.readouterr().out.splitlines()}

    return printed


def test_the_page_has_what_a_report_needs(lines, monkeypatch):
    import sys

    import torch

    monkeypatch.setenv("LOBES_SCAN_BACKEND", "torch")
    found = lines(Finding(OK, "device", "no GPU"))
    assert found["Lobes"].startswith(f"{__version__}, commit ") and found["Python"].startswith(sys.version.split()[0])
    assert f"torch {torch.__version__.partition('+')[0]}" in found["packages"] and "typer " in found["packages"]
    assert "LOBES_SCAN_BACKEND=torch" in found["variables"] and found["device"] == "no GPU"
    assert {"installed in", "recipes in", "system", "cores", "memory"} <= set(found)


def test_a_pytorch_that_cannot_be_loaded_is_a_line(lines):
    found = lines(Finding(FAIL, "imports", "importing PyTorch fails: libcudart.so\n is missing"))
    assert found["imports"] == "importing PyTorch fails: libcudart.so is missing" and "packages" in found


def test_the_home_folder_is_not_named(lines, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    found = lines(Finding(OK, "kernel cache", f"{tmp_path}/cache can be written"))
    assert found["kernel cache"] == "~/cache can be written"
    monkeypatch.setenv("HOME", "/")
    assert page.in_home("/a/b") == "/a/b"


def test_secrets_are_not_shown(monkeypatch):
    assert page.variables({"HF_TOKEN": "x", "HOME": "/home/me", "OMP_NUM_THREADS": "2"}) == ["OMP_NUM_THREADS=2"]


def test_the_command_prints_the_backends(monkeypatch, capsys):
    page.info()
    out = capsys.readouterr().out
    assert "\nscan: numba" in out and "\nimports" in out
