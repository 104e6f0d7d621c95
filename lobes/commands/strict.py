"""A command line that refuses what typer takes in silence, and says every mistake in one line."""

from __future__ import annotations

import math
import re
import sys
from typing import Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from lobes.errors import UserError

# Newer typer carries a copy of click, older typer uses the package: its errors' base is found by name.
_CLICK_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_NUMBERS = {
    int: (re.compile(r"[+-]?[0-9]{1,18}"), "a whole number"),
    float: (re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"), "a number"),
}


class StrictCommand(TyperCommand):
    """Refuses what typer takes in silence: an option twice, an empty text, `1_0`, `inf` and numbers without end."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look at the words before typer reads them."""
        hints = get_type_hints(self.callback)
        lists = {name for one in self.params if _of_numbers(hints.get(one.name)) for name in one.opts}
        args = repeated(args, lists)
        try:
            given, _, order = self.make_parser(ctx).parse_args(list(args))
        except _CLICK_ERROR as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # whose --help helps
            raise
        for param in order:
            where = max(param.opts, key=len) if param.param_type_name == "option" else param.name.upper()
            several = getattr(param, "multiple", True) or param.is_eager
            problem = " is given twice. Leave one of them out" if order.count(param) > 1 and not several else ""
            problem = problem or _problem(given[param.name], hints.get(param.name))
            if problem:
                raise UserError(f"{where}{problem}. See: {ctx.command_path} --help")
        return super().parse_args(ctx, args)


def repeated(words: list[str], options: set[str]) -> list[str]:
    """Write an option of several numbers once for each: click takes one value after a name.

    Example
    -------
    >>> repeated(["--seconds", "1", "10", "model", "2"], {"--seconds"})
    ['--seconds', '1', '--seconds', '10', 'model', '2']
    """
    written: list[str] = []
    name, values = "", 0
    for word in words:
        if name and values and not _NUMBERS[float][0].fullmatch(word):
            name = ""
        elif name:
            written += [name] if values else []
            values += 1
        if not name and word in options:
            name, values = word, 0
        written.append(word)
    return written


def _of_numbers(kind: Any) -> bool:
    """Whether an option takes a list of numbers."""
    return any(get_origin(one) is list for one in (kind, *get_args(kind))) and _number_of(kind) is not None


def _number_of(kind: Any) -> Any:
    """The kind of number in a type hint, at any depth, or None."""
    return kind if kind in _NUMBERS else next(filter(None, map(_number_of, get_args(kind))), None)


def _problem(text: Any, kind: Any) -> str:
    """What is wrong with a text that was typed, or nothing."""
    if isinstance(text, list | tuple):
        return next(filter(None, (_problem(one, kind) for one in text)), "")
    if text == "":
        return " is empty: expected a value"
    number = _number_of(kind)
    if number is None or not isinstance(text, str):
        return ""
    pattern, words = _NUMBERS[number]
    fits = pattern.fullmatch(text) and math.isfinite(float(text))
    return "" if fits else f": expected {words}, got {text!r}"


class StrictGroup(TyperGroup):
    """Refuses an empty word in the place of a sub-command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Look at the first word before typer looks it up."""
        if args[0] == "":
            raise UserError(f"COMMAND{_problem('', str)}. See: {ctx.command_path} --help")
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """A typer app with strict commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": StrictGroup, **options})

    def command(self, *arguments: Any, **options: Any) -> Any:
        """Register a sub-command."""
        return super().command(*arguments, **{"cls": StrictCommand, **options})


def run(command: Any) -> int:
    """Call the app without click's own error output, which takes four lines."""
    try:
        return command(prog_name="lobes", standalone_mode=False) or 0
    except typer.Abort:
        print("stopped", file=sys.stderr)
        return 130
    except _CLICK_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 2
        where = getattr(getattr(error, "ctx", None), "command_path", "lobes")
        message = error.format_message()
        stop = "" if message.endswith((".", "?")) else "."
        raise UserError(f"{message}{stop} See: {where} --help") from error
