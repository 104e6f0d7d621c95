"""make_corpus: check the options, gather the sources, write the folders."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lobes.data import audio
from lobes.data.files import ENDING
from lobes.errors import UserError, did_you_mean
from lobes.polsess.corpus.assemble import Sources, make_example, scene_classes
from lobes.polsess.corpus.classes import REVERBS
from lobes.polsess.corpus.clips import Pools
from lobes.polsess.corpus.folders import Folders, response_files, sound_pools, speech_pools
from lobes.polsess.corpus.made_events import made_events
from lobes.polsess.corpus.made_scenes import made_scenes
from lobes.polsess.corpus.made_speech import made_speech
from lobes.polsess.corpus.rooms import MeasuredRooms, Rooms, SimulatedRooms
from lobes.polsess.layout import PLACES, SUBSETS, csv_name, write_csv

logger = logging.getLogger(__name__)

COUNTS = {"train": 160, "val": 24, "test": 32}
INDOOR_SHARE = 0.75
RECORD = "made_by_lobes.json"  # next to the split folders: how the corpus was made


def make_corpus(
    out_folder: str | os.PathLike[str],
    name: str = "mini",
    speech: Folders | None = None,
    scenes: Folders | None = None,
    events: Folders | None = None,
    rirs: Folders | None = None,
    counts: Mapping[str, int] | None = None,
    sample_rate: int = 8000,
    seconds: float = 4.0,
    seed: int = 1234,
    indoor_share: float = INDOOR_SHARE,
    indoor_classes: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    r"""Write a corpus in the PolSESS format, with short file names, from recordings or from synthesised sound.

    What is not given is synthesised: speech by espeak-ng in Polish (24 speakers), scenes and events by numpy, rooms by
    pyroomacoustics. `lobes.polsess.corpus.folders` describes how recordings get their split. Speakers, files,
    scenes and room responses never cross splits, and no mix has one speaker twice. The same arguments and
    recordings give the same bytes. In the tables the origin of a recording is `made\<speaker>\<file>`: its
    parent folder is the speaker.

    Arguments
    ---------
    out_folder : path
        Where to make the folder `name`.
    name : str
        Name of the corpus; it is part of the tables' names.
    speech : path or list of paths, optional
        Folders with one sub-folder per speaker.
    scenes, events : path or list of paths, optional
        Folders with one sub-folder per class; the folder's name is the class. A folder that holds audio
        itself is a class.
    rirs : path or list of paths, optional
        Folders of room responses; their direct path is removed.
    counts : dict, optional
        Examples of train, val and test; default 160, 24, 32. A split that is not named is not made.
    sample_rate : int
        In Hz; recordings at a higher rate are resampled.
    seconds : float
        Length of every example.
    seed : int
        Same seed, same bytes.
    indoor_share : float
        Share of rows with reverberation, held exactly (rounded, but both kinds where there are two rows).
    indoor_classes : list of str
        Further scene classes that are indoors; all but these and PolSESS's own indoor classes are outdoors.
    overwrite : bool
        Replace a corpus of the same name that this function made; any other folder is never touched.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The corpus: `out_folder/name`, to be given to a recipe as `data_folder`.

    Raises
    ------
    UserError
        A folder is missing or has no audio, too few speakers, a rate too low, no scene of a kind, mixes that clip
        however often they are drawn, a missing package.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     corpus = make_corpus(folder, counts={"test": 2}, seconds=1.0, progress=False)
    ...     [len(list((corpus / "test" / part).iterdir())) for part in ("mix", "clean", "sp1_reverb")]
    [2, 4, 1]
    """
    plan = _plan(name, counts, sample_rate, seconds, seed, indoor_share, indoor_classes)
    sources = _gather(plan, speech, scenes, events, rirs)
    with _finished_folder(Path(out_folder) / name, overwrite) as folder:
        total = sum(plan.counts.values())
        with tqdm(total=total, desc=f"corpus {name}", unit="mix", disable=None if progress else True) as bar:
            for split in plan.counts:
                _write_split(folder, plan, sources, split, bar)
        _write_record(folder, plan, sources)
    logger.info("wrote %d examples to %s", total, Path(out_folder) / name)
    return Path(out_folder) / name


@dataclass(frozen=True)
class _Plan:
    """The checked options."""

    name: str
    counts: dict[str, int]
    sample_rate: int
    seconds: float
    seed: int
    indoor_share: float
    indoor_classes: tuple[str, ...]

    @property
    def length(self) -> int:
        return round(self.seconds * self.sample_rate)


def indoor_flags(count: int, share: float, seed: int, split: str) -> list[bool]:
    """Return for each example of a split whether it is indoors: an exact share, in an order drawn by the seed.

    Example
    -------
    >>> sum(indoor_flags(8, 0.75, seed=0, split="train")), sum(indoor_flags(2, 0.9, seed=0, split="val"))
    (6, 1)
    """
    number = round(share * count)
    if 0 < share < 1 and count > 1:
        number = min(count - 1, max(1, number))
    flags = np.arange(count) < number
    return np.random.default_rng([seed, 40, SUBSETS.index(split)]).permutation(flags).tolist()


def _plan(
    name: str,
    counts: Mapping[str, int] | None,
    sample_rate: int,
    seconds: float,
    seed: int,
    indoor_share: float,
    indoor_classes: Sequence[str],
) -> _Plan:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UserError(f"name={name!r}: expected letters, digits, _ and - only; it becomes a folder name.")
    if not 0 <= indoor_share <= 1:
        raise UserError(f"indoor_share={indoor_share}: expected a share from 0 to 1.")
    if sample_rate < 1000 or seconds <= 0 or round(seconds * sample_rate) < 1000:
        raise UserError(f"sample_rate={sample_rate}, seconds={seconds}: expected at least 1000 Hz and 1000 samples.")
    if seed < 0:
        raise UserError(f"seed={seed}: expected a whole number from 0 up.")
    wanted = _check_counts(COUNTS if counts is None else counts)
    return _Plan(name, wanted, sample_rate, seconds, seed, indoor_share, tuple(indoor_classes))


def _check_counts(counts: Mapping[str, int]) -> dict[str, int]:
    for split, count in counts.items():
        if split not in SUBSETS:
            hint = did_you_mean(split, SUBSETS)
            raise UserError(f"counts: unknown split {split!r}.{hint} Known: train, val, test.")
        if count < 0:
            raise UserError(f"counts: {split}={count}, expected 0 or more examples.")
    wanted = {split: int(counts[split]) for split in SUBSETS if counts.get(split, 0)}
    if not wanted:
        raise UserError("counts: all splits are 0. Expected for example train=160 val=24 test=32.")
    return wanted


def _gather(
    plan: _Plan, speech: Folders | None, scenes: Folders | None, events: Folders | None, rirs: Folders | None
) -> Sources:
    """Open the user's folders and synthesise what is missing."""
    splits, seed, rate = list(plan.counts), plan.seed, plan.sample_rate
    scene_pools = sound_pools(scenes, splits, seed, "scenes") if scenes else made_scenes(plan.counts, seed, rate)
    event_pools = sound_pools(events, splits, seed, "events") if events else made_events(plan.counts, seed, rate)
    _check_scenes(plan, scene_pools)
    rooms: Rooms | None = None
    if plan.indoor_share > 0:
        rooms = MeasuredRooms(response_files(rirs, splits, seed), rate) if rirs else SimulatedRooms(rate)
    speakers = speech_pools(speech, splits, seed) if speech else made_speech(plan.counts, seed)
    return Sources(speakers, scene_pools, event_pools, rooms, plan.indoor_classes)


def _check_scenes(plan: _Plan, scenes: Pools) -> None:
    """Raise a UserError if a split lacks scenes of a kind, indoors or outdoors, that its rows need."""
    known = {scene for split in plan.counts for scene in scenes[split]}
    for unknown in sorted(set(plan.indoor_classes) - known):
        hint = did_you_mean(unknown, known)
        raise UserError(f"indoor_classes: no scene class {unknown!r}.{hint} Found: {_list(known)}.")
    for split, count in plan.counts.items():
        for indoor in set(indoor_flags(count, plan.indoor_share, plan.seed, split)):
            if not scene_classes(scenes[split], indoor, plan.indoor_classes):
                kind, share = ("indoor", 0) if indoor else ("outdoor", 1)
                raise UserError(
                    f"{split} has no {kind} scene class; its scene classes: {_list(scenes[split])}. Indoors are "
                    f"{_list(REVERBS)} and what indoor_classes names. Set it, or indoor_share to {share}."
                )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


@contextmanager
def _finished_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a folder next to the target that takes its name only when everything is written."""
    if target.exists():
        ours = (target / RECORD).is_file()
        if not (ours and overwrite):
            how = "Set overwrite to replace it" if ours else "It was not made by lobes; choose another name"
            raise UserError(f"{target}: this folder exists already. {how}.")
    building = target.with_name(f".{target.name}{ENDING}{os.getpid()}")
    try:
        building.mkdir(parents=True)
        yield building
        if target.exists():
            shutil.rmtree(target)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_split(folder: Path, plan: _Plan, sources: Sources, split: str, bar: tqdm) -> None:
    rows = []
    for index, indoor in enumerate(indoor_flags(plan.counts[split], plan.indoor_share, plan.seed, split)):
        example = make_example(sources, split, index, indoor, plan.seed, plan.length, plan.sample_rate)
        for part, samples in example.parts.items():
            place, column = PLACES[part]
            audio.write(folder / split / place / example.row[column], samples, plan.sample_rate)
        rows.append(example.row)
        bar.update()
    write_csv(folder / split / csv_name(plan.name, split), rows)


def _write_record(folder: Path, plan: _Plan, sources: Sources) -> None:
    speakers = {split: sorted(sources.speech[split]) for split in plan.counts}
    text = json.dumps({**asdict(plan), "speakers": speakers}, indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")
