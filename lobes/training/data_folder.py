"""A training reads the data folder and never writes into it: refused before the first file is made."""

from __future__ import annotations

import io

from lobes.data.paths import refuse_inside

OUTPUTS = ("output_folder", "save_folder", "train_log", "resampled_folder")


def keep_data_folder(text: str) -> None:
    """Raise a UserError if a run would write into its data folder.

    Arguments
    ---------
    text : str
        The resolved recipe file.

    Example
    -------
    >>> keep_data_folder("{data_folder: /data, output_folder: results/1}")
    >>> keep_data_folder("{data_folder: /data, output_folder: /data/results}")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: output_folder /data/results lies in data_folder /data, which is never written into. \
Choose another output_folder.
    """
    from ruamel.yaml import YAML

    settings = YAML().load(io.StringIO(text))
    for key in OUTPUTS:
        if settings.get(key) and settings.get("data_folder"):
            refuse_inside(str(settings[key]), str(settings["data_folder"]), key)
