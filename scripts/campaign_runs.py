"""The runs of campaign.py: one undisturbed for each configuration, and those that are killed, all in a JSON file."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from campaign_life import Kill, Life
from campaign_lives import End, preload_like, start
from campaign_outcome import differences, outcome
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "PolSESS"
FILE = "hparams/spmamba_tiny.yaml"
MOST = 12  # kills in a run
TRIES = 2  # starts in a row that may be lost before a run is given up
OFTEN = {"start": 10, "batch": 30, "save": 35, "tables": 7, "validation": 8, "test": 10}  # kills of a hundred
BATCHES = 9  # of a life, at most, before a kill in a batch or a save
LATER, SECONDS = 0.4, 0.03  # share of the kills that come so much later than their moment, at most

tqdm.monitor_interval = 0  # no thread: this process forks


class Configuration(NamedTuple):
    """What is trained, its share of the kills, and on how many ranks."""

    options: Mapping[str, object]
    share: int
    ranks: int = 1


class Campaign:
    """All runs of a campaign.

    Arguments
    ---------
    folder : Path
        For run folders, what lives print, and what lost starts leave.
    options : mapping
        Of the recipe, for all configurations.
    result : dict
        With `seed`, `kills`, `fresh`, `references` and `runs`; goes on from there.
    output : Path
        The JSON file.
    """

    def __init__(self, folder: Path, options: Mapping[str, object], result: dict[str, Any], output: Path) -> None:
        self.folder, self.options, self.result, self.output = folder, options, result, output
        self.bar = tqdm(total=result["kills"], initial=self.killed(), unit="kill", disable=None)

    def reach(self, name: str, configuration: Configuration, kills: int) -> None:
        """Kill runs of a configuration until it has had so many kills."""
        self.bar.set_description(name)
        self.reference(name, configuration)
        while (left := kills - self.killed(name)) > 0:
            record = self.killed_run(name, configuration, min(left, MOST))
            self.result["runs"].append(record)
            self.save()
            tqdm.write(in_words(record)) if record["lost"] or record["differs"] else None
        if any(run["differs"] for run in self.runs(name)):
            self.repeat(name, configuration)

    def runs(self, name: str | None = None) -> list[dict[str, Any]]:
        """The records of a configuration's runs, or of all."""
        return [run for run in self.result["runs"] if name in (None, run["configuration"])]

    def killed(self, name: str | None = None) -> int:
        """Kills so far."""
        return sum(len(run["kills"]) for run in self.runs(name))

    def holds(self) -> bool:
        """Whether no start was lost and nothing differs."""
        return not any(run["lost"] or run["differs"] for run in self.runs())

    # ---- undisturbed

    def reference(self, name: str, configuration: Configuration) -> None:
        """Train once without a kill; the other runs of the configuration are compared with this one."""
        if name not in self.result["references"]:
            run = self.place(name, "reference")
            end = self.start(configuration, run)
            if not end.well:
                raise SystemExit(f"the undisturbed run failed: {name}: {end.words}")
            preload_like(self.life(configuration, run))
            self.result["references"][name] = {"numbers": end.numbers, "outcome": outcome(run), "repeats": None}
            self.save()

    def repeat(self, name: str, configuration: Configuration) -> None:
        """Whether the undisturbed run repeats itself."""
        known = self.result["references"][name]
        if known["repeats"] is None:
            run = self.place(name, "reference again")
            self.start(configuration, run)
            known["repeats"] = not differences(outcome(run), known["outcome"])
            self.save()

    # ---- killed

    def killed_run(self, name: str, configuration: Configuration, most: int) -> dict[str, Any]:
        """Start a run, kill it, start it again and so on; then let it end, and compare."""
        number, reference = len(self.runs(name)), self.result["references"][name]
        rng, run = random.Random(f"{self.result['seed']}/{name}/{number}"), self.place(name, f"run {number}")
        record: dict[str, Any] = {"configuration": name, "number": number, "kills": [], "lost": [], "batches": 0}
        end, failed = None, 0
        while end is None or not (end.well or failed > TRIES):
            kill = draw(rng, reference["numbers"], configuration.ranks) if len(record["kills"]) < most else None
            kill, fresh = (
                None if failed else kill,
                self.result["fresh"] > 0 and rng.randrange(self.result["fresh"]) == 0,
            )
            end = self.start(configuration, run, kill, fresh)
            failed = failed + 1 if end.lost else 0
            record["batches"] += end.numbers["batches"]
            if kill and end.killed:
                record["kills"].append({**asdict(kill), "fresh": fresh, "place": end.place})
                self.bar.update()
            if end.lost:
                self.keep_lost(record, run, end)
        if record["kills"] and end.well:
            record["repeated"] = record["batches"] - reference["numbers"]["batches"]
        record["differs"] = differences(outcome(run), reference["outcome"]) if end.well else ["no end"]
        if not record["differs"]:
            shutil.rmtree(run)
        return record

    def keep_lost(self, record: dict[str, Any], run: Path, end: End) -> None:
        """Note a lost start, and keep what it has left and printed."""
        kept = self.folder / "lost" / f"{record['configuration']}, {record['number']}, {len(record['lost'])}"
        shutil.copytree(run, kept / "run", dirs_exist_ok=True, symlinks=True)
        shutil.copy(self.console, kept)
        after = record["kills"][-1]["place"] if record["kills"] else "no kill"
        record["lost"].append({"after": after, "words": end.words, "folder": os.path.relpath(kept, self.folder)})

    def start(self, configuration: Configuration, run: Path, kill: Kill | None = None, fresh: bool = False) -> End:
        """One life, with an empty console."""
        self.console.write_bytes(b"")
        return start(self.life(configuration, run, kill), self.console, configuration.ranks, fresh)

    def life(self, configuration: Configuration, run: Path, kill: Kill | None = None) -> Life:
        """The configuration's command in a run folder."""
        options = {**self.options, **configuration.options, "output_folder": run}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return Life(str(RECIPE), [FILE, *words, "--noprogressbar"], str(run), str(self.folder / "board"), kill)

    @property
    def console(self) -> Path:
        """Where a life prints."""
        return self.folder / "console.txt"

    def place(self, name: str, what: str) -> Path:
        """A place for a run folder, with nothing there."""
        run = self.folder / name / what
        shutil.rmtree(run, ignore_errors=True)
        run.parent.mkdir(exist_ok=True)
        return run

    def save(self) -> None:
        """Write the JSON file whole or not at all."""
        from lobes.data.files import write_whole

        self.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.output, json.dumps(self.result, indent=1) + "\n")


def draw(rng: random.Random, numbers: Mapping[str, int], ranks: int) -> Kill:
    """A moment of the next life: of which kind, which one, and how much later the kill comes.

    `numbers` are those of the undisturbed run: moments that a whole run has of each kind.
    """
    rank = rng.randrange(ranks)
    kinds = OFTEN if rank == 0 else {kind: OFTEN[kind] for kind in ("start", "batch", "validation")}  # 0 writes
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    part = BATCHES / max(numbers["batches"], 1) if kind in ("batch", "save") else 0.5 if kind == "validation" else 1
    number = rng.randint(1, max(1, round(part * numbers[kind])))
    return Kill(kind, number, rng.uniform(0, SECONDS) if rng.random() < LATER else 0.0, rank)


def in_words(record: Mapping[str, Any]) -> str:
    """The lines about a run in which something went wrong."""
    head = f"{record['configuration']}, run {record['number']}, {len(record['kills'])} kills: "
    lost = [f"{head}a start was lost after {one['after']}: {one['words']}" for one in record["lost"]]
    return "\n".join([*lost, f"{head}{', '.join(record['differs']) or 'nothing'} differs"])
