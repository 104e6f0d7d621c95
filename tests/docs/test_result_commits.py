"""Every commit that a table, a page or a result file names is in this repository's history: nothing was made up."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"\bcommit\b\W{1,4}([0-9a-f]{7,40})\b")
PLACES = ("*.md", "docs/*.md", "recipes/*/RESULTS.md", "benchmarks/results/*")
# Measured on branches that were rebased before they landed; the files' own history shows when.
REBASED = {"895e25a59d", "2e07ee2442"}


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)


def named(text: str) -> set[str]:
    """The commits in a text, by the letters that it gives of them."""
    return {match[1] for match in NAMED.finditer(text)}


def test_named_sees_the_forms():
    assert named('{"commit": "2e07ee2442+"}') == {"2e07ee2442"}
    assert named("- commit: 895e25a59d\n(commit 3624bf1f34, seed 1), commit `ac5448fd`") == {
        "895e25a59d",
        "3624bf1f34",
        "ac5448fd",
    }
    assert not named("the commit before, commits 1234567890, COMMIT")


def test_commits_of_results_exist():
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("not a git checkout with its history")
    files = [file for place in PLACES for file in ROOT.glob(place) if file.suffix in {".md", ".json"}]
    found = {commit: file for file in files for commit in named(file.read_text(encoding="utf-8"))}
    assert len(found) > 15
    unknown = {
        commit: file.name for commit, file in found.items() if git("cat-file", "-e", f"{commit}^{{commit}}").returncode
    }
    assert set(unknown) <= REBASED, unknown
