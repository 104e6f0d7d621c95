"""Configuration: recipe files as deltas of a base, presets of networks, and the options of the command line.

A file may name another one as its `base`; it then holds only what differs. Presets (`hparams_shared/models`) describe
a network, recipes a training. A recipe names a preset, whose options become keys of the recipe. A text on the command
line passes through no YAML: the kind of the declared default says what it stands for.
"""

from lobes.config.layers import Layer, read_layers
from lobes.config.presets import NETWORK, Preset, keyword_arguments, models_folder, preset_path, read_preset
from lobes.config.recipe import Recipe, find_recipe, load, read_recipe, resolve, resolve_tree

__all__ = [
    "NETWORK",
    "Layer",
    "Preset",
    "Recipe",
    "find_recipe",
    "keyword_arguments",
    "load",
    "models_folder",
    "preset_path",
    "read_layers",
    "read_preset",
    "read_recipe",
    "resolve",
    "resolve_tree",
]
