"""The PolSESS folder format: columns of its tables, folder names, file names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
LIMITED = ("scene",)  # parts that the generator may have limited after it had summed them
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


def file_names(split: str, index: int, indoor: bool) -> dict[str, str]:
    """Return the file name of each column for an example, by its number in the split, counted from 0.

    The names are short, sort in the order of the examples and are in no two splits. The published corpus has names of
    16 random letters, and of all parts together for the mixture; readers take them from the table.

    Example
    -------
    >>> file_names("test", 0, indoor=True)["mixFile"], file_names("test", 0, indoor=False)["reverbForEvent"]
    ('test_000001.wav', '')
    """
    name = f"{split}_{index + 1:06d}"
    return {
        "speaker1File": f"{name}_s1.wav",
        "speaker2File": f"{name}_s2.wav",
        "sceneFile": f"{name}_scene.wav",
        "eventFile": f"{name}_event.wav",
        "reverbForSpeaker1": f"sp1_{name}.wav" if indoor else "",
        "reverbForSpeaker2": f"sp2_{name}.wav" if indoor else "",
        "reverbForEvent": f"ev_{name}.wav" if indoor else "",
        "mixFile": f"{name}.wav",
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
