"""What a comparison compares: recipe files, other presets in them, and other mixers, perhaps of equal size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from lobes.config import read_preset, read_recipe
from lobes.config.references import resolve_references, tag_of
from lobes.errors import UserError, did_you_mean

OF_MIXER = ("mixer", "mixer_width", "mixer_heads")


@dataclass(frozen=True)
class Entry:
    """One line of a comparison: a network with a training.

    Arguments
    ---------
    label : str
        In the table, the picture and the names of the runs.
    file : Path
        The recipe's file.
    options : mapping
        What the file does not say: preset, mixer, width.
    size : str
        How the width was found, in words; empty where none was sought.
    """

    label: str
    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    size: str = ""


def entries_of(
    folder: Path,
    words: Sequence[str],
    mixers: Sequence[str] = (),
    match: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Entry]:
    """The lines of a comparison, each word with each mixer.

    Arguments
    ---------
    folder : Path
        Of the recipe, with `hparams`.
    words : sequence of str
        `name` of a file in `hparams`, the path of a YAML file anywhere, and behind either perhaps `:preset`.
    mixers : sequence of str
        Names of mixers; none: the networks as they are.
    match : str, optional
        parameters or macs, in which each mixer is to be equal to the network that it is put into.
    settings : mapping, optional
        Further options of all runs, which may change the size.

    Raises
    ------
    UserError
        For a file or preset that there is not, a mixer that does not fit, and for two lines with one name.
    """
    if match and not mixers:
        raise UserError("--match needs --mixers: only the width of a mixer can be chosen freely.")
    found = [
        _with_mixer(_entry(folder, word), mixer, match, settings or {})
        for word, mixer in product(words, mixers or [None])
    ]
    labels = [entry.label for entry in found]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"--hparams: two lines would have the name {twice[0]}. Leave one out, or rename its file.")
    return found


def _entry(folder: Path, word: str) -> Entry:
    """A recipe file, perhaps with another preset."""
    name, preset = word, ""
    if not _file(folder, word).is_file():
        name, _, preset = word.rpartition(":")
    file = _file(folder, name or word)
    if not file.is_file():
        known = sorted(path.stem for path in (folder / "hparams").glob("*.yaml"))
        hint = did_you_mean(name or word, known)
        raise UserError(f"--hparams {word}: no such file; {folder.name}/hparams has {', '.join(known)}.{hint}")
    read_recipe(file, preset or None)
    return Entry(preset or file.stem, file.resolve(), {"preset": preset} if preset else {})


def _file(folder: Path, name: str) -> Path:
    return Path(name) if name.endswith(".yaml") else folder / "hparams" / f"{name}.yaml"


def _with_mixer(entry: Entry, mixer: str | None, match: str | None, settings: Mapping[str, Any]) -> Entry:
    if mixer is None:
        return entry
    from lobes.evaluation.sizes import matching_size
    from lobes.models import get_model

    label = f"{entry.label} {mixer}"
    preset, options = network_of(entry, settings)
    if match is None:
        get_model(preset, **options, mixer=mixer)  # which says what is wrong
        return Entry(label, entry.file, {**entry.options, "mixer": mixer})
    found = matching_size(preset, mixer, match, **options)
    sought = {key: found.options[key] for key in OF_MIXER if key in found.options}
    words = " ".join(f"{key}={value}" for key, value in sought.items())
    size = f"{label}: {words}, {found.found:,} {match} ({found.difference:+.1%})"
    return Entry(label, entry.file, {**entry.options, **sought}, size)


def network_of(entry: Entry, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset of a line, and the options in which its file or the settings differ from it, without its mixer."""
    recipe = read_recipe(entry.file, entry.options.get("preset"))
    given = {"data_folder": "-", **settings}  # a placeholder that no network depends on
    recipe.set({key: str(value) for key, value in given.items() if key in recipe.kinds})
    resolve_references(recipe.tree, entry.file)  # the number of sources may follow from the task
    name = str(recipe.tree["preset"])
    defaults = read_preset(name).options
    own = {key: recipe.tree[key] for key in defaults if key in recipe.tree and not tag_of(recipe.tree[key])}
    return name, {key: value for key, value in own.items() if value != defaults[key] and key not in OF_MIXER}
