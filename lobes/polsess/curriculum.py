"""A curriculum over MM-IPC variants: which variants training may draw in which epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lobes.errors import UserError, did_you_mean
from lobes.polsess.variants import check_variants

CURRICULUM_KEYS = ("epoch", "variants")


def variants_at(curriculum: Sequence[Mapping[str, Any]] | None, epoch: int) -> tuple[str, ...] | None:
    """Return the variants that a curriculum allows in an epoch: those of the last entry that has begun.

    Epochs count from 1, as SpeechBrain counts them. No curriculum (None) allows all variants always: None.

    Raises
    ------
    UserError
        An entry is malformed; it is named by its position.

    Example
    -------
    >>> plan = [{"epoch": 1, "variants": ["C", "R"]}, {"epoch": 3, "variants": ["SER", "SE"]}]
    >>> variants_at(plan, 2), variants_at(plan, 9)
    (('C', 'R'), ('SER', 'SE'))
    """
    if curriculum is None:
        return None
    begun = [variants for start, variants in check_curriculum(curriculum) if start <= epoch]
    return begun[-1] if begun else check_curriculum(curriculum)[0][1]


def check_curriculum(curriculum: Sequence[Mapping[str, Any]]) -> list[tuple[int, tuple[str, ...]]]:
    """Return the curriculum as (first epoch, variants) pairs, or raise a UserError for the first bad entry.

    Epochs must increase strictly, and the first entry begins at epoch 1.
    """
    if isinstance(curriculum, (str, Mapping)) or not isinstance(curriculum, Sequence) or not curriculum:
        raise UserError(f"curriculum: expected a list of {{epoch: 1, variants: [C, R]}} entries, got {curriculum!r}.")
    entries = [_curriculum_entry(index, entry) for index, entry in enumerate(curriculum, start=1)]
    starts = [start for start, _ in entries]
    if starts[0] != 1:
        raise UserError(f"curriculum: the first entry must begin at epoch 1, got epoch {starts[0]}.")
    if any(later <= earlier for earlier, later in zip(starts, starts[1:], strict=False)):
        raise UserError(f"curriculum: epochs must increase from entry to entry, got {starts}.")
    return entries


def _curriculum_entry(index: int, entry: Any) -> tuple[int, tuple[str, ...]]:
    if not isinstance(entry, Mapping):
        raise UserError(f"curriculum entry {index}: expected {{epoch: 1, variants: [C, R]}}, got {entry!r}.")
    for key in entry:
        if key not in CURRICULUM_KEYS:
            hint = did_you_mean(str(key), CURRICULUM_KEYS)
            raise UserError(f"curriculum entry {index}: unknown key {key!r}, expected epoch and variants.{hint}")
    start = entry.get("epoch")
    if not isinstance(start, int) or isinstance(start, bool) or "variants" not in entry:
        raise UserError(f"curriculum entry {index}: expected a whole epoch and a list variants, got {dict(entry)}.")
    try:
        return start, check_variants(entry["variants"])
    except UserError as error:
        raise UserError(f"curriculum entry {index}: {error}") from error
