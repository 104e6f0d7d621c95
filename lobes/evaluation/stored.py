"""Outputs that lie in files, of whatever made them. T samples, S sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np

from lobes.data.audio import AudioInfo
from lobes.data.manifest import shorten
from lobes.errors import UserError
from lobes.evaluation.candidates import Mixtures
from lobes.evaluation.items import headers_of, read_at

FORMATS = (".wav", ".flac")
ALONE = ("", "_enhanced", "_s1")  # what may follow the name where there is one source


class StoredOutputs:
    """A folder of outputs, whose names begin with the ID of an item or with the file name of its mixture.

    Behind the name stands `_s1`, `_s2` ... for the sources, for a single one also `_enhanced` or nothing; WAV or FLAC.

    Arguments
    ---------
    label : str
    folder : str or Path

    Raises
    ------
    UserError
        No such folder.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data.audio import probe, write
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/p232_001_enhanced.wav", np.full(800, 0.5), 8000)
    ...     outputs = StoredOutputs("theirs", folder)
    ...     outputs.prepare({"a": ("/data/noisy/p232_001.wav", probe(f"{folder}/p232_001_enhanced.wav"))}, 1)
    ...     outputs.estimates("a", np.ones(800), 8000).shape
    (800, 1)
    """

    num_sources: int | None = None
    sample_rate: int | None = None
    fingerprint = ""  # files are read in no time, and their samples count

    def __init__(self, label: str, folder: str | Path) -> None:
        self.label, self.folder = label, Path(folder).expanduser()
        self.files: dict[str, list[Path]] = {}
        if not self.folder.is_dir():
            raise UserError(f"outputs:{folder}: no such folder. Expected one with a file of each item's output.")

    def prepare(self, mixtures: Mixtures, num_sources: int) -> None:
        """Find and read the files of all items.

        Raises
        ------
        UserError
            A file is missing, several could be meant, or one is damaged or of another length than its mixture.
        """
        held = {path.name: path for path in self.folder.iterdir()}
        stems = {ID: PureWindowsPath(name).stem for ID, (name, _) in mixtures.items()}  # knows both slashes
        shared = Counter(stems.values())
        for ID, stem in stems.items():
            bases = [ID, *([stem] if shared[stem] == 1 and stem != ID else [])]
            self.files[ID] = self._found(ID, bases, held, num_sources)
        missing = [ID for ID, files in self.files.items() if not files]
        if missing:
            expected = " or ".join(f"ID{ending}.wav" for ending in (ALONE if num_sources == 1 else ("_s1", "_s2")))
            joint = "and" if num_sources > 1 else "or"
            raise UserError(
                f"outputs:{self.folder}: no output of {len(missing)} of {len(stems)} items: {shorten(missing)}. "
                f"Expected {expected.replace(' or ', f' {joint} ')} for each, with its ID or the mixture's file name."
            )
        self._check(mixtures)

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """What the files hold, at the rate of the mixture."""
        found = np.zeros((len(mix), len(self.files[ID])), np.float32)  # [T,S]
        for source, path in enumerate(self.files[ID]):
            samples = read_at(path, rate)[: len(mix)]
            found[: len(samples), source] = samples  # of another rate: a sample or two may be lacking at the end
        return found

    def _found(self, ID: str, bases: Sequence[str], held: dict[str, Path], num_sources: int) -> list[Path]:
        """The files of an item's sources; none where not all of them are there."""
        endings = [[ending] for ending in ALONE] if num_sources == 1 else [_numbered(num_sources)]
        names = [[f"{base}{one}{form}" for one in group] for base in bases for group in endings for form in FORMATS]
        there = [group for group in names if all(name in held for name in group)]
        more = [f"{base}_s{num_sources + 1}{form}" for base in bases for form in FORMATS]
        if len(there) > 1 or (there and any(name in held for name in more)):
            several = [group[0] for group in there] + [name for name in more if name in held]
            raise UserError(
                f"outputs:{self.folder}: {ID} has {shorten(several)}, expected the files of {num_sources} source(s). "
                "Leave the outputs that count in the folder."
            )
        return [held[name] for name in there[0]] if there else []

    def _check(self, mixtures: Mixtures) -> None:
        headers = headers_of(str(path) for files in self.files.values() for path in files)
        found = [
            (ID, path, _problem(headers[str(path)], mixtures[ID][1])) for ID in self.files for path in self.files[ID]
        ]
        problems = [f"{ID}: {problem} ({path.name})" for ID, path, problem in found if problem]
        if problems:
            raise UserError(
                f"outputs:{self.folder}: {len(problems)} of {len(found)} outputs cannot be scored: {shorten(problems)}."
            )


def _numbered(count: int) -> list[str]:
    return [f"_s{number}" for number in range(1, count + 1)]


def _problem(header: AudioInfo | str, mixture: AudioInfo) -> str:
    """What is wrong with an output's file; at another rate than the mixture's the length may be rounded either way."""
    if isinstance(header, str):
        return re.sub(r"^.*?: ", "", header)
    expected = mixture.frames * header.sample_rate / mixture.sample_rate
    if abs(header.frames - expected) < 1:
        return ""
    at = f" at {header.sample_rate} Hz" if header.sample_rate != mixture.sample_rate else ""
    return f"the mixture has {expected:.0f} samples{at}, its output {header.frames}"
