"""docs/streaming.md lists the presets that stream, with their latency."""

from __future__ import annotations

import re
from pathlib import Path

from lobes.models.registry import preset_meta, streaming_presets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "streaming.md"


def test_the_page_lists_the_presets_that_stream_with_their_latency():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) ms \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {name: int(latency) for name, latency in rows} == {
        name: preset_meta(name)["latency_ms"] for name in streaming_presets()
    }
