"""The second tests of `realdata.py`, one for each task: a test set in PolSESS's format from foreign sounds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from out_of_domain_sounds import kind_of, make_sounds
from polsess_prepare import prepare_polsess

from lobes.data.manifest import read_manifest, speakers_in, write_manifest
from lobes.polsess.fixed import heard

RATE = 8000
SEEDS = {"ES": 31, "SB": 32}
COUNT = 150
INDOOR_SHARE = 0.5
MANIFEST = "test.csv"
DESCRIPTION = (
    "Second tests, which neither training nor the choice of a checkpoint sees: 150 mixtures of 4 s for each task, "
    "half of them indoors. **Language and recording**: Polish of 24 voices of the synthesiser espeak-ng, Polish of one "
    "recorded speaker, and English digits of three speakers (FSDD), 28 in all; the first tests are read English. "
    "**Noise**: synthesised scenes (street, square, cafe, office, car, station) and events (bells, alarm, knocks, "
    "horn, siren, keys, glass, steps), kinds of which training holds none. **Room**: three measured responses "
    "(SpeechBrain's); training and the first tests have simulated ones. So little is recorded that most of it is made: "
    "what holds for synthesised speech alone can be seen in the last table of a task."
)


def make_manifest(recordings: Path, task: str, output: Path) -> Path:
    """Make the corpus of a task and its manifest once, and return the manifest.

    Arguments
    ---------
    recordings : Path
        The folder that `recordings.py` builds.
    task : str
        ES or SB.
    output : Path
        Gets `out_of_domain/foreign_<task>/`.
    """
    from lobes.polsess.corpus import make_corpus

    folder = output / "out_of_domain" / f"foreign_{task.lower()}"
    if (folder / MANIFEST).is_file():
        return folder / MANIFEST
    sounds = make_sounds(recordings, folder.with_name("sounds"), RATE)
    make_corpus(
        folder.parent,
        name=folder.name,
        speech=sounds / "speech",
        scenes=sounds / "scenes",
        events=sounds / "events",
        rirs=sounds / "rirs",
        counts={"test": COUNT},
        sample_rate=RATE,
        seed=SEEDS[task],
        indoor_share=INDOOR_SHARE,
        overwrite=True,
    )
    with TemporaryDirectory(dir=folder.parent) as made:
        prepare_polsess(folder, made, splits=["test"])
        rows = read_manifest(Path(made, MANIFEST))  # with $data_root, which is the manifest's own folder from now on
    kinds = ({"speech": kind_of(speakers_in(heard(row, task)).split("+"))} for row in rows)
    write_manifest(folder / MANIFEST, [{**row, **kind} for row, kind in zip(rows, kinds, strict=True)])
    return folder / MANIFEST
