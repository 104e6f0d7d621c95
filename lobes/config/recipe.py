"""Recipe files: a chain of deltas, a preset and typed options become one text that HyperPyYAML loads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from lobes.config.building import shapes_without_values
from lobes.config.constructors import check_constructors, explained
from lobes.config.kinds import Kind, kind_of
from lobes.config.layers import Layer, fold, read_layers, refuse_unknown
from lobes.config.presets import Preset, preset_path, read_preset
from lobes.config.references import NAME, resolve_references, tag_of
from lobes.config.table import KNOWN, NEEDED, PLACES, hint_for
from lobes.errors import UserError

_MADE = ("!new:", "!name:", "!module:", "!tuple")  # no plain value comes of these


@dataclass
class Recipe:
    """The keys of a recipe, folded, with the kinds of those that can be set."""

    path: Path
    tree: Any
    parts: dict[str, Any]  # constructors of the preset's network
    kinds: dict[str, Kind]

    def resolve(self, options: Mapping[str, str], extra_options: Iterable[str] = ()) -> str:
        """One self-contained text, see `lobes.config.resolve`; a recipe can be resolved once."""
        problems = self.set(options, extra_options) + self.problems()
        if problems:
            raise UserError(" ".join(problems))
        text = resolve_tree(self.tree, {}, drop=self.parts, name=self.path)
        if problems := self.wrong_values():  # that references have led to
            raise UserError(" ".join(problems))
        return text

    def set(self, options: Mapping[str, str], extra_options: Iterable[str] = ()) -> list[str]:
        """Put typed texts in their places; returns a sentence for each option that there is not."""
        problems = []
        for key, text in options.items():
            if "\x85" in text:
                problems.append(f"{key}: holds the control character U+0085, which YAML takes for a line break.")
            elif key in self.kinds and tag_of(self.tree[key]).startswith("!applyref:"):
                problems.append(f"--{key} follows from other options in {self.path}: set those.")
            elif key in self.kinds:
                self.tree[key] = self.kinds[key].read(text)
            elif key in self.objects() and text == "null" and key not in NEEDED:
                self.tree[key] = None
            elif key in self.objects():
                problems.append(f"--{key} is an object that {self.path} makes: change it there or in a file on it.")
            else:
                problems.append(f"unknown option --{key}.{hint_for(key, [*self.kinds, *extra_options])}")
        if any(problem.startswith("unknown") for problem in problems):
            network = f" and those of the preset {self.tree['preset']}" if self.parts else ""
            problems.append(f"The top-level keys of {self.path}{network} are options.")
        return problems

    def problems(self) -> list[str]:
        """A sentence for each plain value that is of another kind than declared, or out of range."""
        found = self.wrong_values()
        for key in self.objects():
            value = self.tree[key]
            if not has_tags(value) and (value is not None or key in NEEDED):
                other = "" if key in NEEDED else " or null"
                found.append(f"{key}: expected an object (!new: or !name:){other}, got {value!r}.")
        return found

    def wrong_values(self) -> list[str]:
        """The same for the values that are no objects."""
        plain = {key: kind for key, kind in self.kinds.items() if not has_tags(self.tree[key])}
        found = [f"{key}: {problem}." for key, kind in plain.items() if (problem := kind.problem(self.tree[key]))]
        made = {key: tag_of(self.tree[key]) for key in self.kinds if tag_of(self.tree[key]).startswith(_MADE)}
        return found + [f"{key}: expected {self.kinds[key].words()}, got {tag}." for key, tag in made.items()]

    def objects(self) -> list[str]:
        """The keys that YAML's tags make objects of; the command line can only set them to null."""
        ours = (key for key in self.tree if key not in self.kinds and key not in self.parts)
        return [key for key in ours if key != "num_sources" and not str(key).startswith("__")]


def resolve(path: str | Path, options: Mapping[str, str] | None = None, extra_options: tuple[str, ...] = ()) -> str:
    """Fold the bases, the preset, references and options of a recipe into one self-contained YAML text.

    Arguments
    ---------
    path : str or Path
        The recipe's file. Its key `base`, when there is one, names another file by its relative path; the keys of this
        file then replace those of the base, whole. A key `without` lists keys of the base that mean nothing here, a key
        `with` those that this file adds. `preset` names the network: values under the preset's `training` replace those
        of the base, and the options of the network are keys of the recipe. Any other key is a misspelling.
    options : mapping, optional
        Key -> text, as typed. The kind of the declared default says what a text stands for: where a text is declared
        it is that text, character by character.
    extra_options : tuple of str
        Further option names (run options) that the "did you mean" of a misspelt option may suggest.

    Returns
    -------
    str
        Text that HyperPyYAML loads from any folder, with the network under `modules: separator:`.

    Raises
    ------
    UserError
        If a file is missing or is no YAML, a key or an option is unknown, a value is of another kind or out of range,
        or a placeholder is not filled in. All wrong options and values are in one message.

    Example
    -------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "base.yaml").write_text("lr: 0.1\\nsteps: !ref <lr> * 10\\nname: a\\n")
    >>> _ = (folder / "small.yaml").write_text("base: base.yaml\\nlr: 0.5\\n")
    >>> resolve(folder / "small.yaml", {"name": "exp #1"})
    "lr: 0.5\\nsteps: 5.0\\nname: 'exp #1'\\n"
    """
    options = options or {}
    return read_recipe(path, options.get("preset")).resolve(options, extra_options)


def resolve_tree(tree: Any, values: Mapping[str, Any], drop: Iterable[str], name: str | Path) -> str:
    """Replace the references in the tree of a file without bases; then leave out the keys `drop`.

    `values` are other values for some keys. `name` is the file, for messages and for the includes in it.

    Raises
    ------
    UserError
        If a reference leads nowhere, a placeholder is not filled in, an included file is missing, or a class or
        function that the file names is unknown or has no such argument.
    """
    tree.update(values)
    resolve_references(tree, name)
    for key in list(drop):
        del tree[key]
    check_constructors(tree, name)
    return _dump(_as_text(tree))


def load(text: str) -> dict[str, Any]:
    """Make the objects of a resolved YAML text.

    Example
    -------
    >>> load("lr: 0.5\\nname: a")
    {'lr': 0.5, 'name': 'a'}
    """
    with explained(), shapes_without_values(text):
        return load_hyperpyyaml(text)


def find_recipe(word: str) -> str:
    """The file that a word means: a path, or the name of a file in `hparams`, with or without its ending.

    Example
    -------
    >>> find_recipe("there/is/none.yaml")
    'there/is/none.yaml'
    """
    near = (Path(word), Path(f"{word}.yaml"), Path("hparams", word), Path("hparams", f"{word}.yaml"))
    return next((str(path) for path in near if path.is_file()), word)


def read_recipe(path: str | Path, preset: str | None = None) -> Recipe:
    """Read a recipe with its bases and its preset, or another preset; references are left in place.

    Raises
    ------
    UserError
        If a file is missing or is no YAML, or a key is unknown.
    """
    layers = read_layers(Path(path))
    if preset is not None and _naming_layer(layers) is not None:
        layers.append(Layer(Path("command line"), layers[-1].path.name, {"preset": preset}))
    declared = _declared(layers)  # before the layers are put on each other
    tree, network = _with_preset(layers)
    if odd := [key for key in tree if not isinstance(key, str)]:
        raise UserError(f"{path}: expected names as keys, got {odd[0]!r}. Is a colon too much on its line?")
    declared |= network.options if network else {}
    parts = network.parts if network else {}
    kinds = {}
    for key in tree:
        kind = None if key in parts or key == "num_sources" or str(key).startswith("__") else _kind(key, declared)
        if kind is not None:
            sizes = network and key in network.options and key not in KNOWN and kind.type is int
            kinds[key] = replace(kind, low=min(1, declared[key])) if sizes and not tag_of(declared[key]) else kind
    return Recipe(Path(path), tree, parts, kinds)


def has_tags(node: Any) -> bool:
    """Whether a value is, or holds, something that YAML's tags make."""
    if tag_of(node):
        return True
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(has_tags(child) for child in children)


def _declared(layers: list[Layer]) -> dict[str, Any]:
    """Each key's default: that of the lowest layer which has it, unless that leaves it open."""
    found: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.keys.items():
            if key not in found or tag_of(found[key]) == "!PLACEHOLDER":
                found[key] = value
    return found


def _kind(key: str, declared: Mapping[str, Any], seen: tuple[str, ...] = ()) -> Kind | None:
    """The kind of a key by its name or its default; None where tags make an object of it."""
    if key in KNOWN:
        return KNOWN[key]
    value: Any = declared.get(key)
    if key.endswith(PLACES):
        return Kind(str, low=1, null=value is None)
    if tag_of(value) != "!ref":
        made = has_tags(value) and not tag_of(value).startswith(("!applyref:", "!PLACEHOLDER"))
        return None if made else Kind() if tag_of(value) else kind_of(value)
    text = str(value.value)
    if (whole := NAME.fullmatch(text)) and text not in seen:
        return _kind(whole[1], declared, (*seen, text))
    parts = [_kind(name, declared, (*seen, text)) for name in NAME.findall(text)] if text not in seen else []
    return Kind(float) if parts and all(part and part.type in (int, float) for part in parts) else Kind(str)


def _with_preset(layers: list[Layer]) -> tuple[Any, Preset | None]:
    """The keys of a recipe with the options of its preset among them, and the preset."""
    last = _naming_layer(layers)
    if last is None:
        tree, undeclared = fold(layers)
        refuse_unknown(undeclared, set(tree) - set(undeclared))
        return tree, None
    name = layers[last].keys["preset"]
    preset = read_preset(name)
    training = [Layer(preset_path(name), layers[last].base, preset.training)] if last else []
    tree, undeclared = fold([*layers[:last], *training, *layers[last:]])
    refuse_unknown(undeclared, (set(tree) - set(undeclared)) | set(preset.options), f" or of the preset {name}")
    place = list(tree).index("preset") + 1
    for key in reversed([key for key in preset.options if key not in tree]):
        tree.insert(place, key, preset.options[key])
    if taken := [key for key in preset.parts if key in tree]:
        made = f"the preset {name} makes {taken[0]!r}"
        raise UserError(f"{layers[-1].path}: {made}. For a network of your own write without: [preset].")
    tree.update(preset.parts)
    return tree, preset


def _naming_layer(layers: list[Layer]) -> int | None:
    """Number of the last layer that names a preset, unless one above it does without."""
    for number, layer in reversed(list(enumerate(layers))):
        if "preset" in layer.keys or "preset" in layer.without:
            return number if "preset" in layer.keys else None
    return None


def _as_text(node: Any) -> Any:
    """Write texts in brackets as blocks: HyperPyYAML takes them for tuples, also when they stand in quotes."""
    keys = list(range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ())
    for key, behind in zip_longest(keys, keys[1:]):
        value = node[key]
        if isinstance(value, str) and value.startswith("(") and value.rstrip("\n").endswith(")"):
            node[key] = LiteralScalarString(value)
            if comments := getattr(node, "ca", None):  # ruamel.yaml keeps a placeholder's at the next key
                comments.items.pop(behind, None)  # and writes it there, where it would be part of the block
        else:
            _as_text(value)
    return node


def _dump(tree: Any) -> str:
    yaml, text = YAML(), StringIO()
    yaml.width = 1000  # lists stay on one line
    yaml.dump(tree, text)
    return text.getvalue()
