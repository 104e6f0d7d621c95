"""What a check found, as one line: `ok | warn | FAIL  what  what was found, and what to do`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "FAIL"


class Finding(NamedTuple):
    """The outcome of a check: `level` is ok, warn or FAIL, `what` its name, `text` what was found and what to do."""

    level: str
    what: str
    text: str

    def line(self) -> str:
        """The finding as it is printed.

        Example
        -------
        >>> Finding(WARN, "threads", "2 cores").line()
        'warn  threads              2 cores'
        """
        return f"{self.level:4}  {self.what:20} {' '.join(self.text.split())}"

    def to_json(self) -> str:
        """The finding as a line of JSON.

        Example
        -------
        >>> Finding(*json.loads(Finding(OK, "disk", "9 GB are free").to_json()))
        Finding(level='ok', what='disk', text='9 GB are free')
        """
        return json.dumps(list(self))


def worst(findings: Iterable[Finding]) -> str:
    """The most serious level.

    Example
    -------
    >>> worst([Finding(OK, "a", ""), Finding(FAIL, "b", ""), Finding(WARN, "c", "")])
    'FAIL'
    """
    return max((finding.level for finding in findings), key=[OK, WARN, FAIL].index, default=OK)


def in_bytes(size: float) -> str:
    """A number of bytes in words.

    Example
    -------
    >>> in_bytes(64 * 2**20), in_bytes(5.5e9)
    ('64 MB', '5.1 GB')
    """
    return f"{size / 2**20:,.0f} MB" if size < 2**30 else f"{size / 2**30:,.1f} GB"
