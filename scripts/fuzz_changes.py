"""Changes of bytes and of lines that `scripts/fuzz.py` makes: each says in words what it did."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

EXTREME = (0, 1, 2, 3, 16, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
STRANGE = ("", " ", '"', '""', "'", ",", ";", "\t", "\x00", "\ufeff", "ż", "\u2028", "\x85", "-1", "0", "nan", "inf",
           "1e999",
           "null", "true", "no", "[", "]", "{}", "../x", "/", "~", "$data_root", "$HOME/x", "a" * 300,
           "9" * 40)  # fmt: skip
EVIL = ("!!python/object/apply:os.system [true]", "!!python/name:os.system", "!!python/tuple [1]", "!new:os.nothing {}",
        "!apply:os.nothing []", "!applyref:os.nothing []", "!include:nothing.yaml", "!ref <nothing>", "!ref <",
        "!copy x",
        "!ref <a[>", "!module:os", "!unknown 1", "&a [*a]", "*none", "{<<: {a: 1}}", "(1, 2)", "!tuple (1, 2)",
        ".nan", "yes",
        "!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "2001-01-01", "0x1F", "0o17", "1_000", "|", ">", "'", '"',
        "[", "{", "-",
        "? a", "!PLACEHOLDER", "null", "-1", "[]", "{}", "''", "9e99999", "!!int x", "!!float x", "!!bool x",
        "!new:", "!name:",
        "!new:torch.nn.Linear", "!new:torch.nn.Linear [1, 2, 3, 4, 5, 6, 7]", "!name:lobes",
        "!new:lobes {}")  # fmt: skip

Rng = np.random.Generator


def change_bytes(rng: Rng, data: bytes, places: Sequence[int]) -> tuple[bytes, str]:
    """Change a file of bytes at one of some places, or cut it, or put something into it or behind it.

    Returns the changed bytes, and what was done.
    """
    at = int(rng.choice(places))
    kind = _BYTE_CHANGES[int(rng.integers(len(_BYTE_CHANGES)))]
    changed, what = kind(rng, data, at)
    if kind in (_number, _swap):  # what lies elsewhere stays
        elsewhere = set(range(len(data))) - set(places)
        changed = bytes(old if n in elsewhere else new for n, (old, new) in enumerate(zip(data, changed, strict=True)))
    return changed, what


def _flip(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    bit = int(rng.integers(8))
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], f"bit {bit} of byte {at} flipped"


def _set(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    value = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
    return data[:at] + bytes([value]) + data[at + 1 :], f"byte {at} set to {value}"


def _number(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    """A whole number of 2, 4 or 8 bytes: an extreme one, or one near that which stands there."""
    width, order = int(rng.choice([2, 4])), str(rng.choice(["little", "big"]))
    at = max(0, min(at, len(data) - width))
    old = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
    new = int(rng.choice([*EXTREME, old + 1, old - 1, old + 2, old - 2, old * 2, old // 2][-20:])) % 256**width
    return data[:at] + new.to_bytes(width, order) + data[
        at + width :
    ], f"{width} bytes at {at}: {old} -> {new} ({order})"  # type: ignore[arg-type]


def _cut(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    at = at if rng.random() < 0.3 else int(rng.integers(len(data)))
    return data[:at], f"cut at byte {at} of {len(data)}"


def _append(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    count = int(rng.integers(1, 100))
    more = [bytes(count), rng.bytes(count), data, data[len(data) // 2 :]][int(rng.integers(4))]
    return data + more, f"{len(more)} bytes appended"


def _delete(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    count = int(rng.choice([1, 2, 4, 8, 50]))
    return data[:at] + data[at + count :], f"{count} bytes at {at} deleted"


def _insert(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    count = int(rng.choice([1, 2, 4, 8, 50]))
    new = [bytes(count), rng.bytes(count), data[at : at + count]][int(rng.integers(3))]
    return data[:at] + new + data[at:], f"{len(new)} bytes inserted at {at}"


def _swap(rng: Rng, data: bytes, at: int) -> tuple[bytes, str]:
    other = min(at + int(rng.integers(1, 5)), len(data) - 1)
    changed = bytearray(data)
    changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed), f"bytes {at} and {other} exchanged"


_BYTE_CHANGES = (_flip, _flip, _set, _set, _number, _number, _cut, _append, _delete, _insert, _swap)


def change_text(rng: Rng, text: str, words: Sequence[str] = STRANGE) -> tuple[str, str]:
    """Change a text: a letter, a line or a word of it."""
    lines = text.splitlines(keepends=True)
    n = int(rng.integers(len(lines)))
    line, word = lines[n], str(rng.choice(list(words)))
    at = int(rng.integers(len(line)))
    changes = (
        (f"line {n + 1} deleted", []),
        (f"line {n + 1} twice", [line, line]),
        (f"line {n + 1} exchanged with the next", lines[n + 1 : n + 2] + [line]),
        (f"{word!r} put into line {n + 1} at {at}", [line[:at] + word + line[at:]]),
        (f"line {n + 1} cut at {at}", [line[:at] + "\n"]),
        (f"letter {at} of line {n + 1} deleted", [line[:at] + line[at + 1 :]]),
        (f"line {n + 1} indented", ["  " + line]),
        (f"a word of line {n + 1} replaced by {word!r}", [_replaced(rng, line, word)]),
        (
            f"the value of line {n + 1} replaced by {word!r}",
            [re.sub(r"(?<=[:,]).*$", lambda _: " " + word, line, count=1)],
        ),
    )
    what, new = changes[int(rng.integers(len(changes)))]
    behind = n + 2 if "exchanged" in what else n + 1
    return "".join([*lines[:n], *new, *lines[behind:]]), what


def _replaced(rng: Rng, line: str, word: str) -> str:
    found = list(re.finditer(r"[^\s,:]+", line))
    if not found:
        return word + line
    match = found[int(rng.integers(len(found)))]
    return line[: match.start()] + word + line[match.end() :]
