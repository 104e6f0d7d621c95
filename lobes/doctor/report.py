"""The file through which a process of checks hands over what it found, line by line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lobes.doctor.finding import Finding


class Reporter:
    """Writes findings into the report file, and what is being done, for the case that it never ends."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def at(self, what: str) -> None:
        """Say what is about to be done."""
        self._write({"at": what})

    def say(self, finding: Finding) -> None:
        """Add a finding."""
        self._write({"finding": list(finding)})

    def _write(self, entry: dict[str, object]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read(self) -> tuple[list[Finding], str]:
        """What has been found, and what was being done last."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        found = [Finding(*entry["finding"]) for entry in entries if "finding" in entry]
        return found, next((entry["at"] for entry in reversed(entries) if "at" in entry), "start")
