"""What is said in clean files that have no transcript: what the recogniser itself hears there, kept file by file.

A word error rate against it says how much a signal changes what a recogniser understands, not how much it errs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from realdata_set import RATE

from lobes.data import audio
from lobes.evaluation.recognisers import load_recogniser
from lobes.metrics.measures import MetricError


def with_words(rows: Sequence[Mapping[str, str]], recogniser: str, known: Path) -> list[dict[str, str]]:
    """The rows with the column `text`; it is empty where no recogniser is installed.

    Arguments
    ---------
    rows : sequence of mapping
        With s1_wav, the clean file.
    recogniser : str
        As in `lobes.evaluation.recognisers`.
    known : Path
        A line for each file that was heard; an interrupted call goes on.
    """
    from tqdm import tqdm

    heard = _read(known)
    known.parent.mkdir(parents=True, exist_ok=True)
    found = []
    with known.open("a", encoding="utf-8") as file:
        for row in tqdm(rows, desc="clean speech to words", unit="file", disable=None):
            key = sha256(recogniser.encode() + Path(row["s1_wav"]).read_bytes()).hexdigest()
            if key not in heard:
                try:
                    heard[key] = load_recogniser(recogniser)(audio.read_mono(row["s1_wav"], RATE), RATE)
                except MetricError as error:
                    print(f"no words: {error}", flush=True)
                    return [dict(row) for row in rows]
                file.write(
                    "\n" + json.dumps({"key": key, "text": heard[key]})
                )  # first, as the last line may be cut off
                file.flush()
            found.append({**row, "text": heard[key]})
    return found


def _read(path: Path) -> dict[str, str]:
    """The texts by their keys; a line that was cut off in the middle is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry["key"]] = entry["text"]
    return found
