"""Words that do not belong here: private metaphors, references to papers outside the repository, unidiomatic verbs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".csv", ".cff", ".html", ".css", ".j2", ""}
# Files of an earlier version, which must still load as they are.
OLD = "tests/inference/old_export/"
EXCEPT = {"LICENSE", "tests/docs/test_words.py"}
# Pattern -> what to write instead. Rooms of acoustics, random seeds, bars of progress and of charts are fine.
WORDS = {
    r"talkers?": "speaker",
    r"twins?": "reference, counterpart",
    r"mend(s|ed|ing)?": "fix, correct",
    r"houses?|(what each|the only) room|rooms? (of (lobes|the house)|may|must)|room_of|imported_rooms": "folder",
    r"beside": "next to, alongside",
    r"tells?|told|telling": "say, show, distinguish",
    r"raced?|races|racing": "comparison, compare",
    r"BARS?|bar [\d{(]|(its|the|these|our) bars|bars? (for|to) (pass|meet|clear)": "threshold, limit",
    r"(the|these|its|our) seeds of|seeds (claimed|promised)|first documents?": "earlier documents",
    r"(the|its|our) plans?( of (this|the) (recipe|project|house|issue))|target of the plan": "earlier documents",
    r"DESIGN|specs/\S*|faults? N\d+|issue \d+|\.\./shared\S*": "nothing outside the repository",
}


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file() and Path(name).suffix in TEXT]


def found_in(text: str, pattern: str) -> list[tuple[int, str]]:
    """Line number and match of everything that the pattern finds as whole words."""
    flags = 0 if re.match(r"BARS|DESIGN", pattern) else re.IGNORECASE
    word = re.compile(rf"(?<![\w.-])(?:{pattern})(?!\w)", flags)
    return [(number, m.group()) for number, line in enumerate(text.splitlines(), 1) for m in word.finditer(line)]


def test_found_in_sees_words_and_only_words():
    text = "The houses, a household and the\nHouse; recommended, its bars, a progress bar, at bar 3"
    assert found_in(text, "house") == [(2, "House")] == found_in("1\nHouse.", "house")
    assert found_in(text, r"mend(s|ed|ing)?") == []
    assert found_in(text, next(p for p in WORDS if p.startswith("BARS"))) == [(2, "its bars"), (2, "bar 3")]


@pytest.mark.parametrize("pattern", WORDS)
def test_no_private_words(pattern):
    found = [
        f"{name}:{line}: {word}"
        for name in tracked()
        if name not in EXCEPT and not name.startswith(OLD)
        for line, word in found_in((ROOT / name).read_text(encoding="utf-8"), pattern)
    ]
    assert not found, f"write {WORDS[pattern]} instead:\n" + "\n".join(found)
