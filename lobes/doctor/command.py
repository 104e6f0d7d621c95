"""The command `lobes doctor`: which checks run for which words, their lines, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lobes.doctor.finding import FAIL, WARN, Finding, worst
from lobes.errors import UserError, did_you_mean


def doctor(words: Sequence[str], data: str | None = None, of: str | None = None, data_root: str | None = None) -> int:
    """Run the checks that are asked for, print a line for each, and return the exit code: 1 if one says FAIL.

    Arguments
    ---------
    words : sequence of str
        Perhaps a recipe file, then its options as for train.py. With the file: the machine, its data, and one batch of
        it. Without it and without `data`: the machine, and of the options `--output_folder` alone.
    data : str, optional
        A manifest, a folder of manifests or, with `of`, a data folder: its data alone.
    of : str, optional
        A recipe file or the name of a data set, such as PolSESS.
    data_root : str, optional
        What `$data_root` in manifests stands for.

    Raises
    ------
    UserError
        For words that have no meaning together, a file that is not there.
    """
    named = [word for word in words[:1] if not word.startswith("-")]
    recipe, options = (named[0] if named else None), words[len(named) :]
    _refuse_misuse(recipe, data, of, data_root, options)
    found = list(_printed(findings(recipe, data, of, data_root, options)))
    counts = [sum(finding.level == level for finding in found) for level in (FAIL, WARN)]
    print(f"{len(found)} checks: {counts[0]} failed, {counts[1]} warnings")
    return int(worst(found) == FAIL)


def findings(
    recipe: str | None, data: str | None, of: str | None, data_root: str | None, options: Sequence[str]
) -> Iterator[Finding]:
    """The findings of the checks that are asked for, one by one; the arguments are those of `doctor`, taken apart."""
    if data is not None and of is None:
        yield from guarded("data", _manifests(data, data_root))
    elif data is not None and of is not None:
        yield from guarded("data", _child("recipe", "data", find_file(of), "--data_folder", data, *options))
    else:
        yield from _machine(_value(options, "output_folder") or "results")
    if recipe is not None:
        yield from guarded("recipe", _child("recipe", "step", find_file(recipe), *options))


def _machine(output_folder: str) -> Iterator[Finding]:
    from lobes.doctor.versions import check_versions

    yield from guarded("versions", check_versions())
    yield from guarded("machine", _limits(output_folder))
    yield from guarded("PyTorch", _child("machine"))


def _limits(output_folder: str) -> Iterator[Finding]:
    from lobes.doctor.machine import check_machine

    yield from check_machine(output_folder)


def _child(what: str, *arguments: str) -> Iterator[Finding]:
    from lobes.doctor.child import in_child

    yield from in_child(what, arguments)


def _manifests(data: str, data_root: str | None) -> Iterator[Finding]:
    from lobes.doctor.data import check_data
    from lobes.doctor.tables import find_manifests

    yield from check_data(find_manifests(data), data_root)


def _printed(findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        print(finding.line(), flush=True)
        yield finding


def guarded(what: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings of a check; that it fails in another way, as without a package, is one as well."""
    from lobes.errors import in_one_line

    try:
        yield from findings
    except Exception as error:
        yield Finding(FAIL, what, in_one_line(error) or f"this check failed: {type(error).__name__}: {error}")


def _value(options: Sequence[str], name: str) -> str | None:
    """The value of an option in a list of words."""
    for index, word in enumerate(options):
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
        if word == f"--{name}" and index + 1 < len(options):
            return options[index + 1]
    return None


def find_file(word: str) -> str:
    """The recipe file that a word means: as for `lobes train`, or a data set's name, for the first file of its recipe.

    Raises
    ------
    UserError
        Where there is none.
    """
    from lobes.config.recipe_folders import all_recipes, find_recipe_file, recipe_files

    folder = all_recipes().get(word)
    return str(recipe_files(folder)[0] if folder else find_recipe_file(word))


def _refuse_misuse(
    recipe: str | None, data: str | None, of: str | None, data_root: str | None, options: Sequence[str]
) -> None:
    if recipe is not None and data is not None:
        raise UserError("doctor: a recipe file takes --data_folder; --data checks data alone. Give one of them.")
    if of is not None and data is None:
        raise UserError(f"doctor: --recipe {of} says how --data is read; give --data FOLDER, or the recipe file alone.")
    if data_root is not None and (data is None or of is not None):
        raise UserError("doctor: --data-root is for --data MANIFEST.")
    if recipe is not None and _value(options, "data_folder") is None:
        raise UserError("doctor: expected the data of the recipe: --data_folder FOLDER.")
    for word in (word for word in (recipe, of) if word is not None):
        find_file(word)
    if options and recipe is None and of is None and (data is not None or _value(options, "output_folder") is None):
        if options[0] == "--output_folder" and data is None:
            raise UserError("doctor: expected a folder: --output_folder FOLDER.")
        hint = did_you_mean(options[0], ["--data", "--recipe", "--data-root", "--output_folder"])
        raise UserError(f"doctor: {options[0]} is an option of recipes only. Give a recipe file with it.{hint}")
    if recipe is None and of is None and len(options) > 2:
        raise UserError(f"doctor: {' '.join(options)}: expected --output_folder FOLDER alone without a recipe file.")
    if data is not None and of is None:
        from lobes.doctor.tables import find_manifests

        find_manifests(data)
