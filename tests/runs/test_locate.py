"""A mistyped path is an error here, never a look-up on the hub."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from speechbrain.utils.fetching import FetchConfig

from lobes.errors import UserError
from lobes.runs.locate import locate


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, dict]]:
    """Replace the hub; returns the calls it got."""
    calls: list[tuple[str, dict]] = []

    def snapshot_download(name: str, **options):
        calls.append((name, options))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.mark.parametrize("word", ["exported", "./run", "../owner/name", "~/owner", "/a/b", "a/b/c", "here/run"])
def test_missing_paths_never_reach_the_hub(word: str, hub: list, tmp_path: Path):
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match="no such folder"):
        locate(word)
    assert not hub


def test_hub_id_is_downloaded(hub: list, tmp_path: Path):
    config = FetchConfig(revision="abc", allow_network=False)
    assert locate("speechbrain/sepformer-wsj02mix", fetch_config=config) == tmp_path
    [(name, options)] = hub
    assert name == "speechbrain/sepformer-wsj02mix"
    assert options["revision"] == "abc" and options["local_files_only"] is True


def test_hub_failure_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def fails(*_, **__):
        raise OSError("no route to host\nmore text")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(UserError, match=r"no such folder, and the Hugging Face hub .*\(no route to host\)"):
        locate("owner/name")


def test_file_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(UserError, match="is a file, expected the folder"):
        locate(tmp_path / "a.ckpt")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    assert locate("~/run") == tmp_path / "run"
