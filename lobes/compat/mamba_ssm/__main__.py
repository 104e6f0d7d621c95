"""Run a script that was written for mamba_ssm: `python -m lobes.compat.mamba_ssm their_train.py ARGUMENTS ...`."""

from __future__ import annotations

import runpy
import sys
import sysconfig
import traceback
from pathlib import Path

from lobes.compat.mamba_ssm.installation import install
from lobes.errors import UserError, exit_on_user_error

USAGE = """usage: python -m lobes.compat.mamba_ssm [--shadow] SCRIPT.py [ARGUMENTS ...]
       python -m lobes.compat.mamba_ssm [--shadow] -m MODULE [ARGUMENTS ...]

Runs a script or module with mamba_ssm and causal_conv1d served by Lobes.
--shadow: also where these packages are installed."""


def main(given: list[str]) -> None:
    """Run what the command line names, as `python SCRIPT.py` or `python -m MODULE` would.

    Arguments
    ---------
    given : list of str
        The arguments of the command.
    """
    shadow = given[:1] == ["--shadow"]
    given = given[shadow:]
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if given else sys.stderr)
        sys.exit(0 if given else 2)
    with exit_on_user_error():
        module = check(given)
        sys.argv = given[1:] if module else given
        if not module and not getattr(sys.flags, "safe_path", False):
            sys.path[0] = str(Path(given[0]).resolve().parent)  # as for any script; until here the current folder
        install(shadow=shadow)
    try:
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(given[0], run_name="__main__")
    except UserError as error:  # all else is the script's own, with its traceback
        print(f"error: {error} ({place(error)})", file=sys.stderr)
        sys.exit(2)


def check(given: list[str]) -> str:
    """Return the name of the module to run; nothing if it is a script.

    Raises
    ------
    UserError
        If there is no such script, or no name.

    Example
    -------
    >>> check(["-m", "their.train", "--lr", "1e-3"])
    'their.train'
    """
    if given[0] == "-m":
        if len(given) == 1:
            raise UserError("-m: expected the name of a module after it, found nothing.")
        return given[1]
    if given[0].startswith("-"):
        raise UserError(f"{given[0]}: no such option; expected --shadow, -m MODULE or a script.")
    if not Path(given[0]).is_file():
        raise UserError(f"{given[0]}: no such file; expected a Python script written for mamba_ssm.")
    return ""


def place(error: BaseException) -> str:
    """The file and line of their code from which an error came."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _theirs(frame.filename)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "no line of the script"


def _theirs(file: str) -> bool:
    """Whether a file is neither of Lobes, nor of an installed package, nor of Python."""
    others = [Path(__file__).resolve().parents[2], *map(Path, sysconfig.get_paths().values())]
    return not file.startswith("<") and not set(others) & {*Path(file).parents, *Path(file).resolve().parents}


if __name__ == "__main__":
    main(sys.argv[1:])
