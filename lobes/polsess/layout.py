"""The PolSESS folder format: columns of its tables, folder names, file names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SUBSETS = ("train", "val", "test")  # PolSESS's names of the splits
TABLE_COLUMNS = (
    "subset",
    "speech1OryginalPath",
    "speech1Start",
    "speech1End",
    "speech2OryginalPath",
    "speech2Start",
    "speech2End",
    "SSR",
    "sceneOryginalPath",
    "sceneStart",
    "sceneEnd",
    "sceneRandomDB",
    "sceneOffsetDB",
    "sceneVolumeGain",
    "eventOryginalPath",
    "eventStart",
    "eventEnd",
    "speaker1File",
    "speaker2File",
    "eventFile",
    "sceneFile",
    "reverbForSpeaker1",
    "reverbForSpeaker2",
    "reverbForEvent",
    "mixFile",
    "sceneClass",
    "eventClass",
    "preDelayForEvent",
    "preDelay1",
    "preDelay2",
    "highCut",
    "diffusion",
    "decay",
    "freqDamp",
)
# part of an example -> (folder, column that names the file)
PLACES = {
    "mix": ("mix", "mixFile"),
    "s1": ("clean", "speaker1File"),
    "s2": ("clean", "speaker2File"),
    "scene": ("scene", "sceneFile"),
    "event": ("event", "eventFile"),
    "sp1_reverb": ("sp1_reverb", "reverbForSpeaker1"),
    "sp2_reverb": ("sp2_reverb", "reverbForSpeaker2"),
    "ev_reverb": ("ev_reverb", "reverbForEvent"),
}
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))


def file_names(rng: np.random.Generator, indoor: bool) -> dict[str, str]:
    """Draw the 16-letter names of one example and return the file name of each column.

    Example
    -------
    >>> names = file_names(np.random.default_rng(0), indoor=False)
    >>> len(names["speaker1File"]), names["reverbForEvent"], names["mixFile"].count("-")
    (20, '', 3)
    """
    words = ["".join(rng.choice(_LETTERS, 16)) for _ in range(5)]
    sp1, sp2, scene, event, room = words
    return {
        "speaker1File": f"{sp1}.wav",
        "speaker2File": f"{sp2}.wav",
        "sceneFile": f"{scene}.wav",
        "eventFile": f"{event}.wav",
        "reverbForSpeaker1": f"sp1_{room}.wav" if indoor else "",
        "reverbForSpeaker2": f"sp2_{room}.wav" if indoor else "",
        "reverbForEvent": f"ev_{room}.wav" if indoor else "",
        "mixFile": "-".join(words if indoor else words[:4]) + ".wav",
    }


def csv_name(name: str, split: str) -> str:
    """Return the file name of a subset's table."""
    return f"corpus_{name}_{split}_final.csv"


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the 34-column table of one subset."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, TABLE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
