"""The data of a training, before it starts: files, headers, sums, silence, speakers and mixtures in two splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lobes.data import audio
from lobes.data.checks import in_threads
from lobes.data.manifest import shorten, wav_files
from lobes.data.sample import SEED, Heard, is_alone, listen, notes, refuse_other_sums, refuse_silent, seeded
from lobes.data.shards.member import file_of
from lobes.doctor.finding import FAIL, OK, WARN, Finding
from lobes.doctor.overlap import shared_audio, shared_speakers
from lobes.doctor.tables import check_tables
from lobes.errors import UserError
from lobes.polsess.layout import LIMITED

ROWS = 50  # of each split that are listened to
TOLERANCE = 0.01  # seconds between a manifest's duration and the file's
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def check_data(
    manifests: Mapping[str, Path],
    data_root: str | None = None,
    sample_rate: int | None = None,
    sums: bool = True,
    rows: int = ROWS,
) -> Iterator[Finding]:
    """All checks of a data set's manifests and files, as findings; none stops at the first fault.

    Arguments
    ---------
    manifests : mapping
        Split -> path of its manifest.
    data_root : str, optional
        What `$data_root` stands for; the folder of each manifest if not given.
    sample_rate : int, optional
        The rate that all files must have (Hz); if not given, any, but one.
    sums : bool
        Whether mixtures must be the sums of their parts.
    rows : int
        How many rows of each split are listened to.

    Yields
    ------
    Finding
    """
    read: dict[str, list[dict[str, str]]] = {}
    yield from check_tables(manifests, data_root, read)
    if not read:
        return
    headers: dict[str, audio.AudioInfo] = {}
    yield from _headers(read, sample_rate, headers)
    whole = {split: [row for row in found if _is_whole(row, headers)] for split, found in read.items()}
    yield from _sample({split: found for split, found in whole.items() if found}, sums, rows)
    yield from shared_speakers(read)
    yield from shared_audio(whole)
    yield from _classes(read)


def _headers(rows: Rows, sample_rate: int | None, headers: dict[str, audio.AudioInfo]) -> Iterator[Finding]:
    """Files that are missing or damaged, rates, channels, lengths; fills `headers`."""
    files = wav_files(row for found in rows.values() for row in found)
    missing: list[str] = []
    damaged: list[str] = []
    for file, header in zip(files, in_threads(_probe, files, "reading headers"), strict=True):
        if isinstance(header, audio.AudioInfo):
            headers[file] = header
        else:
            (damaged if file_of(file).exists() else missing).append(header)
    yield _counted("files", missing, len(files), "are missing: {}. Check that the data folder is right and complete.")
    yield _counted("damaged files", damaged, len(files), "cannot be read: {} Copy or make them again.")
    rates = sorted({header.sample_rate for header in headers.values()})
    wanted = sample_rate or next(iter(headers.values()), audio.AudioInfo(0, 0, 1, "")).sample_rate
    other = [f"{file} ({header.sample_rate} Hz)" for file, header in headers.items() if header.sample_rate != wanted]
    advice = f"have another sample rate than {wanted} Hz: {{}}. Resample them, or set sample_rate."
    yield _counted("sample rate", other, len(files), advice, f"{rates[0] if rates else '-'} Hz")
    stereo = [file for file, header in headers.items() if header.channels != 1]
    yield _counted("channels", stereo, len(files), "are not mono: {}.")
    everything = [row for found in rows.values() for row in found]
    uneven = [row["ID"] for row in everything if not _is_even(row, headers)]
    text = "have parts of unequal length: {}. All parts of a mixture must be equally long."
    yield _counted("lengths", uneven, len(everything), text)
    wrong = [row["ID"] for row in everything if not _is_timed(row, headers)]
    if wrong:
        text = (
            f"{len(wrong)} of {len(everything)} are not those of the files: {shorten(wrong)}. Prepare the data again."
        )
        yield Finding(WARN, "durations", text)


def _probe(file: str) -> audio.AudioInfo | str:
    try:
        return audio.probe(file)
    except UserError as error:
        return file if not file_of(file).exists() else str(error)


def _counted(what: str, bad: Sequence[str], of: int, text: str, fine: str = "") -> Finding:
    if bad:
        return Finding(FAIL, what, f"{len(bad)} of {of} {text.format(shorten(bad))}")
    return Finding(OK, what, fine or f"{of:,} checked")


def _known(row: Mapping[str, Any], headers: Mapping[str, audio.AudioInfo]) -> list[audio.AudioInfo]:
    return [headers[row[c]] for c in row if c.endswith("_wav") and row[c] in headers]


def _is_even(row: Mapping[str, Any], headers: Mapping[str, audio.AudioInfo]) -> bool:
    return len({header.frames for header in _known(row, headers)}) <= 1


def _is_whole(row: Mapping[str, Any], headers: Mapping[str, audio.AudioInfo]) -> bool:
    """Whether all files of a row can be read and are equally long."""
    return all(row[c] in headers for c in row if c.endswith("_wav") and row[c]) and _is_even(row, headers)


def _is_timed(row: Mapping[str, Any], headers: Mapping[str, audio.AudioInfo]) -> bool:
    try:
        return abs(float(row["duration"]) - headers[row["mix_wav"]].seconds) <= TOLERANCE
    except (KeyError, ValueError):  # no duration, no file, or no number: other findings
        return True


def _sample(rows: Rows, sums: bool, number: int) -> Iterator[Finding]:
    """What is heard in a seeded sample of the rows."""
    heard: dict[str, list[Heard]] = {}
    for split, found in rows.items():
        try:
            heard[split] = listen(seeded(found, number), LIMITED)
        except UserError as error:
            yield Finding(FAIL, "audio", str(error))
    if not heard:
        return
    shares = {split: f"{len(items)} of {len(rows[split]):,} rows of {split}" for split, items in heard.items()}
    where = {split: f"a sample of {share}, seed {SEED}" for split, share in shares.items()}
    every = f"a sample of {', '.join(shares.values())}, seed {SEED}"
    yield from _all_splits("silence", heard, lambda split: refuse_silent(heard[split], where[split]), every)
    alone = all(is_alone(item) for items in heard.values() for item in items)
    if sums or alone:
        fine = "the manifests name one part of the mixtures, so that there is no sum" if alone else every
        yield from _all_splits("sums", heard, lambda split: refuse_other_sums(heard[split], where[split]), fine)
    else:
        yield Finding(OK, "sums", "as the recipe checks them before every training (key sample_checks)")
    for split, items in heard.items():
        for note in notes(items):
            yield Finding(WARN, "clipping" if "clipped" in note else "silence", f"{split}: {note}")
        equal = [item.ID for item in items if item.equal]
        if equal:
            text = f"{split}: in {len(equal)} of {len(items)} rows the mixture is one of its sources: {shorten(equal)}."
            yield Finding(WARN, "equal parts", text)


def _all_splits(
    what: str, heard: Mapping[str, Sequence[Heard]], check: Callable[[str], None], where: str
) -> Iterator[Finding]:
    problems = []
    for split in heard:
        try:
            check(split)
        except UserError as error:
            problems.append(Finding(FAIL, what, str(error)))
    yield from problems or [Finding(OK, what, where)]


def _classes(rows: Rows) -> Iterator[Finding]:
    """PolSESS: the class of the scene is what dynamic mixing and the tables group by."""
    found = [row for of in rows.values() for row in of if "sceneClass" in row]
    without = [row["ID"] for row in found if not row["sceneClass"]]
    if without:
        text = (
            f"{len(without)} of {len(found)} rows have no sceneClass: {shorten(without)}. Look at the corpus's tables."
        )
        yield Finding(WARN, "scene classes", text)
