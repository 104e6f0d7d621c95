"""docs/from-other-projects.md: the keys of SpeechBrain have the names here that the program itself hints at."""

from __future__ import annotations

import re
from pathlib import Path

from lobes.config.table import ELSEWHERE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-other-projects.md"


def test_keys_are_those_of_the_hints():
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if "`clip_grad_norm`" in line)
    theirs, ours = (re.findall(r"`(\w+)`", cell) for cell in row.strip("|").split("|"))
    assert len(theirs) == 3 and [ELSEWHERE[name] for name in theirs] == ours
