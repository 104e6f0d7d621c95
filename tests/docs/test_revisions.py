"""S06: a hub id stands in no document, help text or recipe file without the commit that is taken."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Owners on the hub whose models are named here. A word such as recipes/LibriMix is none.
OWNERS = ("speechbrain", "mpariente", "JorisCos", "owner")
HUB_ID = re.compile(rf"(?<![\w./:-])(?:{'|'.join(OWNERS)})/[\w-][\w.-]*\w(?![\w/-])(?!\.(?:py|ckpt))")
PINNED = re.compile(r"\S*?(@| --(pretrained_)?revision\s+|, fetch_config=)(COMMIT|[0-9a-f]{40}|FetchConfig\(revision=)")
ABSTRACT = "owner/name"  # stands for any
PLACES = (
    "*.md",
    "docs/*.md",
    "recipes/**/*.md",
    "recipes/**/*.yaml",
    "hparams_shared/**/*.yaml",
    "lobes/**/*.py",
    "recipes/**/*.py",
)


def unpinned(text: str) -> list[str]:
    """The hub ids in a text that no revision follows."""
    words = " ".join(text.split())
    return [
        match[0] for match in HUB_ID.finditer(words) if match[0] != ABSTRACT and not PINNED.match(words[match.end() :])
    ]


def test_unpinned_sees_the_forms():
    commit = "0" * 40
    assert unpinned("lobes separate speechbrain/sepformer-wham mix.wav") == ["speechbrain/sepformer-wham"]
    assert unpinned("`--pretrained_separator speechbrain/sepformer-wham`") == ["speechbrain/sepformer-wham"]
    assert unpinned(f"speechbrain/a-b --revision {commit[:39]}") == ["speechbrain/a-b"]
    assert not unpinned(
        f"lobes separate speechbrain/a-b --revision\n{commit} and --x speechbrain/c --pretrained_revision COMMIT"
    )
    assert not unpinned("asteroid=mpariente/net@COMMIT and github.com/speechbrain/speechbrain, owner/name")


def test_S06_each_hub_id_has_a_revision():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    known = {ROOT / name for name in listed.stdout.splitlines()}
    files = {file for place in PLACES for file in ROOT.glob(place)} & known - {ROOT / "CHANGELOG.md"}
    found = {file: ids for file in sorted(files) if (ids := unpinned(file.read_text(encoding="utf-8")))}
    assert len(files) > 100 and not found


@pytest.mark.parametrize("command", ["separate", "enhance", "evaluate"])
def test_S06_each_command_that_takes_a_hub_id_takes_a_revision(command: str):
    from typer.testing import CliRunner

    from lobes.cli import app

    text = " ".join(CliRunner().invoke(app, [command, "--help"]).output.split())
    assert "--revision" in text and "--trust" in text and "code of yours" in text
