"""SpeechBrain's run options: how a training is run (device, debug and the like), not what is trained."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lobes.config import Recipe
from lobes.config.kinds import Kind
from lobes.config.table import KNOWN
from lobes.errors import UserError

SEVERAL = ("compile_module_keys",)  # takes several words
UNUSED = {"jit", "jit_module_keys", "log_config"}  # TorchScript takes no network of ours; every run has its log


@cache
def kinds() -> dict[str, Kind]:
    """The options with their kinds, by SpeechBrain's type hints.

    Example
    -------
    >>> kinds()["distributed_backend"].choices
    ('nccl', 'gloo', 'mpi')
    """
    from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

    hints = get_type_hints(RunOptions)
    return {name: KNOWN.get(name) or _kind(hints[name]) for name in hints if name in {*HELP_TEXTS, *SEVERAL} - UNUSED}


def flags() -> list[str]:
    """Those that need no value."""
    return [name for name, kind in kinds().items() if kind.type is bool]


def split(given: Mapping[str, Any], recipe: Recipe) -> tuple[Any, dict[str, str]]:
    """Take the run options out of what was given.

    An option that the recipe has as a key (precision, max_grad_norm ...) stays the recipe's, so that the run folder's
    file says what ran.

    Arguments
    ---------
    given : mapping
        Option -> text, or list of texts.
    recipe : Recipe

    Returns
    -------
    run_opts : speechbrain.utils.run_opts.RunOptions
    options : dict
        What is left, for the recipe.

    Raises
    ------
    UserError
        If a value is of another kind.
    """
    from speechbrain.utils.run_opts import RunOptions

    mine = {name: value for name, value in given.items() if name in kinds() and name not in recipe.tree}
    values = {name: text if name in SEVERAL else kinds()[name].read(text) for name, text in mine.items()}
    wrong = [f"--{name}: {problem}." for name in values if (problem := kinds()[name].problem(values[name]))]
    if wrong:
        raise UserError(" ".join(wrong))
    if not sys.stderr.isatty() and "noprogressbar" not in given:
        values["noprogressbar"] = True  # in a log every tick of a bar would be a line
    run_opts = RunOptions(**values, param_file=str(recipe.path), overridden_args=set(values))
    return run_opts, {name: text for name, text in given.items() if name not in mine}


def _kind(hint: Any) -> Kind:
    if get_origin(hint) is Literal:
        return Kind(str, choices=get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return replace(_kind(next(part for part in get_args(hint) if part is not type(None))), null=True)
    return Kind(list, items=Kind(str)) if get_origin(hint) is list else Kind(hint)
