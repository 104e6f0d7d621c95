"""The model card of an exported folder: what the model is, where it came from, how to load it, its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lobes import __version__
from lobes.errors import install, visible
from lobes.runs.checkpoints import number
from lobes.runs.folder import TrainedRun

CARD = """---
library_name: speechbrain
tags:
- speechbrain
- lobes
- {tag}
---
# {title}

A model for speech {tag_words}, trained and exported with Lobes {version}.

| | |
|---|---|
{facts}

## Use

Install Lobes from a clone of its repository: `{install}`.

```python
import torch
from lobes.inference import Separator

separator = Separator.from_hparams(source=".")  # this folder
estimates = separator.separate_batch(torch.randn(1, {sample_rate}))
assert estimates.shape == (1, {sample_rate}, {num_sources})
```

`separator.separate_file("mix.wav")` takes a file of any sample rate. On the command line:
`lobes {command} FOLDER mix.wav -o out`. SpeechBrain's own
`speechbrain.inference.{interface}.from_hparams(source=FOLDER)` loads the folder too, with
`lobes` installed; its `{method}` gives the same numbers bit for bit.

## Limits

{limits}
- It was trained at {sample_rate} Hz: files of other rates are resampled, so nothing above {nyquist} Hz is
  left in the output.
- The code is under the Apache License 2.0. The weights were made from the training data above: whether and
  for what you may use or pass them on follows from the licences of that data.
"""

LEVEL = (
    "Estimates come at the level that fits their mixture best, by least squares of the sources onto it; nothing is "
    "normalised to its peak. `overrides={'level': 'model'}`, on the command line `--level model`, leaves the network's "
    "own level: the training loss may ignore scale, and then that level, and its sign, say nothing."
)


def model_card(run: TrainedRun) -> str:
    """Write the model card of a run's best checkpoint, in Markdown with the hub's header: the text of README.md.

    Folder names of the machine are left out.
    """
    several = run.num_sources > 1
    facts = {key: _cell(value) for key, value in _facts(run).items() if value not in ("", "None")}
    return CARD.format(
        tag="source-separation" if several else "speech-enhancement",
        title=_title(run),
        tag_words="separation" if several else "enhancement",
        version=__version__,
        install=install(),
        facts="\n".join(f"| {key} | {value} |" for key, value in facts.items()),
        command="separate" if several else "enhance",
        interface="separation.SepformerSeparation" if several else "enhancement.WaveformEnhancement",
        method="separate_batch" if several else "enhance_batch",
        sample_rate=run.sample_rate,
        nyquist=run.sample_rate // 2,
        num_sources=run.num_sources,
        limits=_limits(str(run.settings.get("limits") or "")),
    )


def _title(run: TrainedRun) -> str:
    task = run.settings.get("task")
    return f"{type(run.model).__name__}{f' for {_cell(str(task))}' if task else ''}, {run.sample_rate / 1000:g} kHz"


def _facts(run: TrainedRun) -> dict[str, str]:
    task, words = (str(run.settings.get(key, "")) for key in ("task", "task_description"))
    origin = dict(line.split(": ", 1) for line in run.header if ": " in line)
    made_by = next((line for line in run.header if line.startswith("Lobes ")), "")
    return {
        "Task": f"{task} ({words})" if task and words else task or words,
        "Network": f"`{run.model_yaml.split('!new:', 1)[-1].split()[0]}`",
        "Parameters": f"{sum(p.numel() for p in run.model.parameters()):,}",
        "Sample rate": f"{run.sample_rate} Hz",
        "Sources": str(run.num_sources),
        "Causal": "yes" if getattr(run.model, "causal", False) else "no",
        "Trained on": PurePath(str(run.settings.get("data_folder", ""))).name,
        "Checkpoint": run.checkpoint.folder.name + _scores(run.checkpoint.meta),
        "Training command": f"`{_without_machine(origin['command'])}`" if "command" in origin else "",
        "Trained with": made_by,
        "Seed": str(run.settings.get("seed", "")),
    }


def _scores(meta: Mapping[str, Any]) -> str:
    """The checkpoint's own facts: the validation metric with its unit."""
    shown = {"si_sdri": "validation SI-SDRi {:.2f} dB", "pesq": "validation PESQ {:.3f}"}
    words = [
        shown[key].format(value) if key in shown else f"{key} {value:g}"
        for key, value in meta.items()
        if key not in ("unixtime", "end-of-epoch") and isinstance(value, int | float) and number(value) > -math.inf
    ]
    return f" ({', '.join(words)})" if words else " (not validated)"


def _without_machine(command: str) -> str:
    """Replace absolute paths by their last part: a card is published, the machine's folders are not.

    Example
    -------
    >>> _without_machine("python train.py hparams/a.yaml --data_folder /data/PolSESS --out=/x/y")
    'python train.py hparams/a.yaml --data_folder PolSESS --out=y'
    """
    words = []
    for word in command.split():
        name, equals, value = word.rpartition("=")
        words.append(name + equals + (PurePath(value).name if value.startswith(("/", "~")) else value))
    return " ".join(words)


def _cell(text: str) -> str:
    """A text of a run's files as one cell of a table: nothing in it ends the cell, is HTML or steers a screen.

    Example
    -------
    >>> _cell("a | b\\n<script>")
    'a \\\\| b &lt;script>'
    """
    text, code = " ".join(text.split()), text.startswith("`") and text.endswith("`")
    text = visible(text).replace("|", "\\|")
    return f"`{text[1:-1].replace('`', chr(39))}`" if code else text.replace("<", "&lt;")


def _limits(of_recipe: str) -> str:
    """The limits of every model here, and the lines that the recipe's key `limits` adds."""
    lines = [LEVEL, *(visible(line).replace("<", "&lt;") for line in of_recipe.strip().splitlines())]
    return "\n".join(f"- {line}" for line in lines if line)
