"""Messages of `make_corpus` in the words of `lobes corpus`."""

from __future__ import annotations

import re

_ARGUMENT = re.compile(r"(?<![\w-])(name|speech|scenes|events|rirs|sample_rate|seconds|seed|indoor_share)=")


def as_options(message: str) -> str:
    """A message of `make_corpus`, which names its arguments, in the words of the command line."""
    message = _ARGUMENT.sub(lambda match: f"--{match[1].replace('_', '-')} ", message)
    message = re.sub(r"(?<![\w-])(train|val|test)=(?=-?\d)", r"--\1 ", message.replace("counts: ", ""))
    message = re.sub(r"counts of (train|val|test) to 0", r"--\1 0", message)
    for argument, option in (("indoor_classes", "--indoor-class"), ("indoor_share", "--indoor-share")):
        message = message.replace(f" {argument}", f" {option}")
    return message.replace("indoor_classes: ", "--indoor-class: ").replace("Set overwrite", "Give --overwrite")
