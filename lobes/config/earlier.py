"""Recipe files of earlier versions, which included the file of a preset under the key `model`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lobes.config.references import tag_of

_GONE = {"gradient_checkpointing"}  # keys that recipes had then and presets have now

logger = logging.getLogger(__name__)


def name_preset(path: Path, keys: Any) -> None:
    """Turn `model: !include:.../models/NAME.yaml` in the keys of a file into `preset: NAME`, with a warning.

    Example
    -------
    >>> from ruamel.yaml import YAML
    >>> keys = YAML().load("without: [gradient_checkpointing]\\nmodel: !include:models/convtasnet_tiny.yaml {}")
    >>> name_preset(Path("mine.yaml"), keys)
    >>> dict(keys)
    {'without': [], 'preset': 'convtasnet_tiny'}
    """
    tag = tag_of(keys.get("model"))
    included = Path(tag.removeprefix("!include:"))
    if not tag.startswith("!include:") or included.parent.name != "models":
        return
    del keys["model"]
    keys["preset"] = included.stem
    if isinstance(keys.get("without"), list):
        keys["without"] = [key for key in keys["without"] if key not in _GONE]
    logger.warning(
        "%s: a preset's file under `model` is the form of earlier versions; write preset: %s", path, included.stem
    )
