"""Part 3: the tests that are marked `gpu`, file by file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from gpu_day_rows import Row, Settings

from lobes.errors import UserError

TITLE = "Tests on the GPU"
SECONDS = 200.0
ROOT = Path(__file__).resolve().parents[1]
MARK = "mark.gpu"


def rows(settings: Settings) -> dict[str, Callable[[], Row]]:
    """Each file that has such tests."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8")]
    return {path.relative_to(ROOT).as_posix(): partial(run, settings, path) for path in files}


def run(settings: Settings, path: Path) -> Row:
    """Run the tests of a file and count their ends; on a CPU all are skipped."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *options, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", errors="replace")
        print(done.stdout[-6000:], done.stderr[-2000:])
        counts = counted(report.read_text(encoding="utf-8")) if report.is_file() else Counter()
    if done.returncode or not settings.dry and not counts["passed"]:
        raise UserError(f"{path.name}: pytest ended with exit code {done.returncode}: {words(counts)}")
    return {"tests": dict(counts), "cores": os.cpu_count()}


def counted(report: str) -> Counter[str]:
    """How many tests of a report passed, failed and were skipped.

    Example
    -------
    >>> counted("<testsuites><testcase/><testcase><skipped/></testcase></testsuites>")
    Counter({'passed': 1, 'skipped': 1})
    """
    ends: Counter[str] = Counter()
    for case in ElementTree.fromstring(report).iter("testcase"):
        tags = {child.tag for child in case}
        ends["failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"] += 1
    return ends


def words(counts: Counter[str]) -> str:
    """The counts in words; nothing ran where there are none."""
    return ", ".join(f"{number} {end}" for end, number in sorted(counts.items())) or "no test ran"
