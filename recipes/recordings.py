#!/usr/bin/env python3
"""Build the folder of real recordings that the tables of PolSESS/realdata.py and VoiceBank/realdata.py come from.

> python recordings.py FOLDER                      # fetches each file from the repository that publishes it
> python recordings.py FOLDER --sources COPIES     # from files below COPIES, found by their names; nothing is fetched
> python recordings.py FOLDER --mirror ADDRESS     # from a copy of the sources, such as file:///data/mirror

recordings.csv names each recording, its source, its licence and its checksum. Every recording is a whole file of its
source, as one channel of 16 bit at 16 kHz. Those that are published like that must be equal sample by sample. Where a
file has to be resampled or decoded from Ogg, which no two programs do alike, its length and its level below 4 kHz in 16
sections must be those of the recording in the tables. manifest.csv is written last, when all are there: the same
command goes on after an interruption. T samples.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lobes.data import arguments, audio
from lobes.data.files import replacing, write_whole
from lobes.data.manifest import shorten
from lobes.data.rates import resample
from lobes.errors import UserError, exit_on_user_error

TABLE = Path(__file__).with_name("recordings.csv")
RAW = "https://raw.githubusercontent.com"
# First folder of the column origin -> where its files are published
PUBLISHED = {
    "esc10": f"{RAW}/karolpiczak/ESC-10/master",
    "resemblyzer": f"{RAW}/resemble-ai/Resemblyzer/master",
    "denoiser": f"{RAW}/facebookresearch/denoiser/ea491e7c31e6b904cec85bc1813d1ab554109502",
    "clearer": f"{RAW}/modelscope/ClearerVoice-Studio/main",
    "fsdd": f"{RAW}/Jakobovski/free-spoken-digit-dataset/master",
    "porcupine": f"{RAW}/Picovoice/porcupine/720d21e5747e121275f71a8910476a247f201be8/resources/audio_samples",
    "speechbrain": f"{RAW}/speechbrain/speechbrain/develop/tests/samples/RIRs",
    "wids": f"{RAW}/chaeyoung-lee/wids_tutorial/08ca06b06c984fb6172898e1f1bec6fd00df10bc",
}
MANIFEST = ("path", "kind", "speaker", "split", "sample_rate", "source", "licence")
SECTIONS, TOLERANCE = 16, 0.05  # of a level
SECONDS = 60  # without an answer
LARGEST = 64 << 20  # bytes of a source's file; the recordings have less than two minutes

Row = Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> None:
    """Build what is missing, then write the manifest."""
    from tqdm import tqdm

    options = parse(argv)
    rows = read_table()
    copies = by_name(options.sources) if options.sources else None
    refused = []
    for row in tqdm(rows, desc="recordings", unit="file", disable=None):
        reason = check_file(options.folder / row["path"], row)
        if reason == "missing":
            reason = build(row, options.folder, copies, options.mirror)
        if reason:
            refused.append(f"{row['path']} ({reason})")
    if refused:
        raise UserError(
            f"{options.folder}: {len(refused)} of {len(rows)} recordings cannot be had: {shorten(refused)}. The others "
            "are kept, and the same command goes on; --sources FOLDER or --mirror ADDRESS takes files from elsewhere."
        )
    write_whole(options.folder / "manifest.csv", manifest(rows))
    print(f"{len(rows)} recordings in {options.folder}, for realdata.py --recordings {options.folder}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path, help="new, or of an earlier call")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--sources", type=Path, metavar="COPIES", help="take files from this folder and fetch none")
    where.add_argument("--mirror", metavar="ADDRESS", help="fetch ADDRESS/origin, as recordings.csv gives it")
    options = parser.parse_args(argv)
    if options.sources and not options.sources.is_dir():
        raise UserError(f"--sources {options.sources}: no such folder.")
    if options.mirror and not urllib.parse.urlsplit(options.mirror).scheme:
        raise UserError(f"--mirror {options.mirror}: expected an address, such as file:///data/mirror.")
    return options


def read_table() -> list[Row]:
    """The rows of recordings.csv."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def manifest(rows: Sequence[Row]) -> str:
    """The table that both realdata.py read, with the names that the licences ask for."""
    text = io.StringIO()
    writer = csv.DictWriter(text, MANIFEST, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def by_name(folder: Path) -> dict[str, list[Path]]:
    """All files below a folder by their names without ending; a set's own archive has its own folders."""
    found: dict[str, list[Path]] = defaultdict(list)
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            found[Path(name).stem].append(Path(place, name))
    return found


def build(row: Row, folder: Path, copies: Mapping[str, list[Path]] | None, mirror: str | None) -> str:
    """Write a recording from a copy or from its source; returns why that is not possible, or nothing."""
    if copies is not None:
        reasons = [write(row, folder, path) for path in copies.get(Path(row["origin"]).stem, [])]
        return "" if "" in reasons else next(iter(reasons), "no file of that name in --sources")
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, Path(row["origin"]).name)
        return fetch(address(row["origin"], mirror), file) or write(row, folder, file)


def address(origin: str, mirror: str | None) -> str:
    """Where a file is published, or where the mirror has it."""
    source, _, path = origin.partition("/")
    base = f"{mirror.rstrip('/')}/{source}" if mirror else PUBLISHED[source]
    return f"{base}/{urllib.parse.quote(path)}"


def fetch(url: str, file: Path) -> str:
    """Fetch a small file; returns why there is none. Without an answer there is no point in asking for the next."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            content = response.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        return f"{url}: {error.code} {error.reason}"
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        if url.startswith("file:"):
            return f"{url}: no such file"
        raise UserError(
            f"cannot fetch {url}: {error}. The same command goes on later; --sources FOLDER or --mirror ADDRESS takes "
            "files from elsewhere."
        ) from error
    if len(content) > LARGEST:
        return f"{url}: more than {LARGEST:,} bytes"
    file.write_bytes(content)
    return ""


def write(row: Row, folder: Path, file: Path) -> str:
    """Bring a source's file to the recording's form and write it if it is that recording; returns why it is not."""
    rate, frames = int(row["sample_rate"]), int(row["frames"])
    try:
        samples, own_rate = audio.read_mono_with_rate(file)  # [T]
    except UserError as error:
        return str(error)
    samples = resample(samples, own_rate, rate)
    if row["levels"] and abs(len(samples) - frames) == 1:  # a length that is no whole number is rounded up or down
        samples = np.pad(samples, (0, 1))[:frames]
    samples = np.clip(samples, -1, 1)  # a resampler may go a little beyond full scale
    if reason := difference(audio.to_int16(samples), row):
        return f"{file}: {reason}"
    with replacing(folder / row["path"]) as partial:
        audio.write(partial, samples, rate)
    return ""


def check_file(path: Path, row: Row) -> str:
    """Why a file is not the recording, or nothing; "missing" where there is none."""
    if not path.exists():
        return "missing"
    try:
        reason = difference(audio.to_int16(audio.read_mono(path, int(row["sample_rate"]))), row)
    except UserError as error:
        return str(error)
    return f"wrong checksum, {reason}; delete it" if reason else ""


def difference(samples: np.ndarray, row: Row) -> str:
    """What distinguishes 16-bit samples [T] from the recording, or nothing.

    The checksum decides; where a row has levels, length and levels may take its place.
    """
    if checksum(samples) == row["sha256"]:
        return ""
    if len(samples) != int(row["frames"]):
        return f"{len(samples)} samples, expected {row['frames']}"
    if not row["levels"]:
        return f"sha256 of the samples is {checksum(samples)[:12]}..., expected {row['sha256'][:12]}..."
    expected = np.array([int(level) for level in row["levels"].split()])
    far = np.abs(levels(samples) - expected) > TOLERANCE * expected + 1
    return f"another level in {far.sum()} of {SECTIONS} sections" if far.any() else ""


def checksum(samples: np.ndarray) -> str:
    """Sha256 of 16-bit samples, low byte first: independent of the file's format."""
    return hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()


def levels(samples: np.ndarray) -> np.ndarray:
    """Root mean square of 16-bit samples [T] in sections of about equal length, rounded.

    Of the lower half of the spectrum, where all resamplers agree.
    """
    parts = np.array_split(resample(samples, 2000, 1000).astype(np.float64), SECTIONS)
    return np.array([round(float(np.sqrt(np.mean(np.square(part))))) if len(part) else 0 for part in parts])


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
