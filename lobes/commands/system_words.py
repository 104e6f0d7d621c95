"""The words for systems on a command line: `noisy`, MODEL, MODEL@0.5, A+B, outputs:FOLDER, each with LABEL= in front.

The name of a file or folder that exists always is that file or folder, whatever signs are in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from lobes.errors import UserError
from lobes.evaluation.candidates import NOISY, Candidate, UntouchedMixture
from lobes.evaluation.several import labels_taken
from lobes.evaluation.stored import StoredOutputs
from lobes.inference.separator import Separator
from lobes.inference.systems import Ensemble, SeparatorSystem, SharedModel, Weakened, common, plain

OUTPUTS = "outputs:"
LABEL = re.compile(r"(?P<label>[^=:/\\]*)=(?P<rest>.*)", re.DOTALL)
STRENGTH = re.compile(r"(?P<rest>.+)@(?P<share>[-+]?(?:\d{1,6}\.?\d{0,6}|\.\d{1,6}))", re.DOTALL)
FIT = re.compile(r"[\w+@-][\w.+@-]{0,99}")  # of a label, which names a folder
SIGNALS = ("mixture", "target")  # of an example, next to the systems'


def open_systems(words: Sequence[str], load: Callable[[str], Separator]) -> list[Candidate]:
    """Make the systems that words name; each model is loaded once, however many of them are made of it.

    Arguments
    ---------
    words : sequence of str
        See the top of this file. An ensemble may be made of anything but ensembles: `A@0.5+outputs:FOLDER`.
    load : callable
        Gives the separator of a word for a model.

    Returns
    -------
    list of Candidate

    Raises
    ------
    UserError
        For what is no system, no label, a label of two systems, or systems with different numbers of sources.

    Example
    -------
    >>> open_systems(["noisy"], load=print)[0].label
    'noisy'
    >>> open_systems(["a=noisy", "a=noisy"], load=print)
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: a: two systems have this label. Give one of them another: LABEL=...
    """
    split = [_labelled(word) for word in words]
    labels = _labels(split)
    model = cache(lambda word: SharedModel(load(word)))
    systems = [_system(label, rest, model) for label, (_, rest) in zip(labels, split, strict=True)]
    common(systems)
    return systems


def parts_of(word: str) -> list[str]:
    """The parts between the + of a word; a + in the name of a file or folder that exists is none of them.

    Example
    -------
    >>> parts_of("a+outputs:b+c@0.5")
    ['a', 'outputs:b', 'c@0.5']
    """
    pieces, parts = word.split("+"), []
    while pieces:
        lengths = range(len(pieces), 0, -1)
        taken = next((n for n in lengths if _exists("+".join(pieces[:n]).removeprefix(OUTPUTS))), 1)
        parts.append("+".join(pieces[:taken]))
        pieces = pieces[taken:]
    return parts


def _labelled(word: str) -> tuple[str, str]:
    """The label that was given, or nothing, and the rest."""
    found = LABEL.fullmatch(word)
    if found is None or _exists(word):
        return "", word
    label, rest = found["label"], found["rest"]
    if not FIT.fullmatch(label) or not rest:
        raise UserError(f"{word}: expected LABEL=SYSTEM, a label of letters, digits and _ . + - @.")
    return label, rest


def _labels(split: Sequence[tuple[str, str]]) -> list[str]:
    """The labels that were given, else short names: the last part of a path, or the last two where one is not enough.

    Systems become folders, so that labels differ in more than the case of letters.
    """
    short = [[label or plain(_short(rest, parts)) for label, rest in split] for parts in (1, 2, 3)]
    labels = next((one for one in short if len(set(map(str.lower, one))) == len(one)), short[0])
    taken = {name.lower() for name in (*labels_taken(), *SIGNALS)}
    for label, (_, rest) in zip(labels, split, strict=True):
        if label.lower() in taken and not (label == NOISY and rest == NOISY):
            raise UserError(f"{label}: is the name of something else in the results. Give another one: LABEL={rest}")
    twice = [label for label in labels if Counter(map(str.lower, labels))[label.lower()] > 1]
    if twice:
        raise UserError(f"{twice[0]}: two systems have this label. Give one of them another: LABEL=...")
    return labels


def _short(rest: str, parts: int) -> str:
    """A name of a system without its folders."""
    if _exists(rest):
        return "_".join(Path(rest).resolve().parts[-parts:])
    found = STRENGTH.fullmatch(rest)
    if found and len(parts_of(rest)) == 1:
        return f"{_short(found['rest'], parts)}@{found['share']}"
    if len(parts_of(rest)) > 1:
        return "+".join(_short(one, parts) for one in parts_of(rest))
    name = rest.removeprefix(OUTPUTS)
    name = name.rpartition(":")[2] if name == rest else name  # package.module:factory
    return "_".join([one for one in re.split(r"[/\\]", name) if one not in ("", ".", "..")][-parts:]) or "system"


def _system(label: str, word: str, model: Callable[[str], SharedModel]) -> Candidate:
    if _exists(word):
        return SeparatorSystem(label, model(word))
    parts = parts_of(word)
    if len(parts) > 1:
        if not all(parts):
            raise UserError(f"{word}: expected a system on both sides of each +.")
        return Ensemble(label, [_system(part, part, model) for part in parts])
    if word.startswith(OUTPUTS):
        return StoredOutputs(label, word.removeprefix(OUTPUTS))
    if word == NOISY:
        return UntouchedMixture(label)
    if found := STRENGTH.fullmatch(word):
        share = float(found["share"])
        if not 0 <= share <= 1:
            raise UserError(f"{word}: expected a strength of 0 (the mixture) to 1 (all of it) behind the @.")
        return Weakened(label, _system(found["rest"], found["rest"], model), share)
    return SeparatorSystem(label, model(word))


def _exists(word: str) -> bool:
    try:
        return bool(word) and Path(word).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # no name of a file at all
        return False
