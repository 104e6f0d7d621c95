"""The one way from the words that a user types, or gives to a function, to a separator."""

from __future__ import annotations

from lobes.inference.separator import Separator
from lobes.runs.hub import revision_of


def load_separator(
    model: str, device: str | None = None, revision: str | None = None, trust: bool = False, level: str | None = None
) -> Separator:
    """Load a model.

    Arguments
    ---------
    model : str
        As in `Separator.from_hparams`.
    device : str, optional
        cpu or cuda; by default the GPU if any.
    revision : str, optional
        Of a model of the hub: the hash of the commit to take.
    trust : bool
        Run whatever the model's folder names.
    level : str, optional
        `mixture` or `model`; by default what the folder says, or else `mixture`.

    Returns
    -------
    Separator

    Raises
    ------
    UserError
        As `Separator.from_hparams`, or if there is no such device.

    Example
    -------
    >>> load_separator("./no_such_run")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: ./no_such_run: no such folder. Expected a run folder, ...
    """
    run_opts = {}
    if device is not None:
        from lobes.config.device import check_device

        check_device(device)
        run_opts["device"] = device
    return Separator.from_hparams(
        model, fetch_config=revision_of(revision), trust=trust, run_opts=run_opts, level=level
    )
