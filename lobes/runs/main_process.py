"""What one process of a training does for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speechbrain.utils.distributed import MainProcessContext, ddp_broadcast, if_main_process

from lobes.errors import UserError


def on_main(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function on the main process. Its result or its error comes to all of them, so that none waits for ever.

    Returns
    -------
    Any
        The function's result, on every process.

    Raises
    ------
    UserError
        On the other processes, where the function has raised any exception on the main one, which raises that.

    Example
    -------
    >>> on_main(divmod, 7, 2)
    (3, 1)
    """
    result, error = None, None
    if if_main_process():
        with MainProcessContext():
            try:
                result = function(*args, **options)
            except Exception as caught:
                error = caught
    result, message = ddp_broadcast((result, None if error is None else str(error)))
    if error is not None:
        raise error
    if message is not None:
        raise UserError(message)
    return result
